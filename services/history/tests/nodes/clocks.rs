//! Shards that move between nodes whose clocks differ by as much as membership allows.

use std::time::Duration;

use api::temporal::api::command::v1::StartTimerCommandAttributes;
use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::enums::v1::{CommandType, EventType};

use crate::world::{START, World, command, time_of};

const SECOND: Duration = Duration::from_secs(1);
const TIMER: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn no_event_time_goes_back_and_a_timer_is_early_by_no_more_than_the_clocks_differ() {
    for b in [START - SECOND, START + SECOND, START] {
        let mut world = World::with_clocks(START, b).await;
        let workflow = world.id_in(0, "sleeper");
        world.start(&workflow).await;
        let timer = StartTimerCommandAttributes {
            timer_id: "t".to_owned(),
            start_to_fire_timeout: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        };
        let timer = command(CommandType::StartTimer, Attributes::StartTimerCommandAttributes(timer));
        world.decide(&workflow, vec![timer]).await;
        let started = world.runtime.now();
        // At once, so that the other clock has not caught up when it writes its first event.
        world.turn(["b", "b"]);
        world.settled().await;
        let signal = api::temporal::api::workflowservice::v1::SignalWorkflowExecutionRequest {
            workflow_execution: crate::world::execution(&workflow),
            signal_name: "go on".to_owned(),
            ..Default::default()
        };
        calls::History::signal_workflow(&*world.b, &world.ctx, signal).await.unwrap();
        world.has(&workflow, "TIMER_FIRED").await;
        let waited = world.runtime.now().since(started);
        assert!((TIMER - SECOND..=TIMER + 2 * SECOND).contains(&waited), "waited for {waited:?}");
        // And back again.
        world.turn(["a", "a"]);
        world.settled().await;
        world.decide(&workflow, vec![]).await;
        let events = world.events(&workflow).await;
        assert!(events.is_sorted_by_key(time_of), "{events:#?}");
        let when = |kind| time_of(events.iter().find(|event| event.event_type() == kind).unwrap());
        assert!(when(EventType::TimerFired).since(when(EventType::TimerStarted)) >= TIMER);
        world.close().await;
    }
}
