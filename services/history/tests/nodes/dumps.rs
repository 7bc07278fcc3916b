//! What operators see of a workflow.

use calls::{DumpWorkflow, History, ServiceError};
use serde_json::Value;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_dump_shows_state_and_unstored_changes_and_no_payload() {
    let mut world = World::new().await;
    let workflow = world.id_in(0, "shown");
    world.start(&workflow).await;
    world.decide(&workflow, vec![]).await;
    let dump = async |world: &World| {
        let text =
            world.a.dump_workflow(&world.ctx, DumpWorkflow { workflow_id: workflow.as_str().into() }).await.unwrap();
        assert!(!text.contains("secret"), "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let shown = dump(&world).await;
    let run_id = shown["chain"]["current_run_id"].as_str().unwrap();
    let run = &shown["runs"][run_id];
    assert_eq!(run["status"], "WORKFLOW_EXECUTION_STATUS_RUNNING");
    assert_eq!((&run["next_event_id"], &run["dirty"]), (&Value::from(5), &Value::from(true)));
    assert_eq!((shown["shard"].as_u64(), shown["epoch"].as_u64()), (Some(0), Some(1)));
    let unstored = shown["unstored_changes"].as_array().unwrap();
    let steps: Vec<&Value> = unstored.iter().filter_map(|change| change["steps"].as_array()).flatten().collect();
    assert!(steps.iter().any(|step| step["type"] == "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"), "{shown:#}");
    assert_eq!(shown["last_position"], unstored.last().unwrap()["position"]);
    // Once all is in the tables, nothing is unstored.
    world.a.flush().await;
    let stored = dump(&world).await;
    assert_eq!(stored["unstored_changes"].as_array().unwrap().len(), 0);
    assert_eq!(stored["runs"][run_id]["dirty"], false);
    // The next owner brings it to memory to show it.
    world.turn(["b", "b"]);
    world.settled().await;
    let refused = world.a.dump_workflow(&world.ctx, DumpWorkflow { workflow_id: workflow.as_str().into() }).await;
    assert!(matches!(refused, Err(ServiceError::NotOwner(_))));
    let text = world.b.dump_workflow(&world.ctx, DumpWorkflow { workflow_id: workflow.as_str().into() }).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["runs"][run_id]["next_event_id"], 5);
    let unknown = world.id_in(0, "unknown");
    let missing = world.b.dump_workflow(&world.ctx, DumpWorkflow { workflow_id: unknown.as_str().into() }).await;
    assert!(matches!(missing, Err(ServiceError::NotFound(_))));
    world.close().await;
}
