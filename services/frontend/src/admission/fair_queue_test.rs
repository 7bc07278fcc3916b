//! The order in which namespaces are admitted, one request at a time.

use super::*;

type Queue = FairQueue<&'static str>;

fn loud() -> NamespaceId {
    NamespaceId::new("loud")
}

fn quiet() -> NamespaceId {
    NamespaceId::new("quiet")
}

/// Lets in or puts into line; says which.
fn ask(queue: &mut Queue, namespace: &NamespaceId, class: Class, cost: usize, waiter: &'static str) -> bool {
    let entered = queue.try_enter(namespace, 1, cost);
    if !entered {
        queue.wait(namespace, 1, class, cost, waiter);
    }
    entered
}

/// Ends one request of `namespace` of cost 1, and returns which is admitted.
fn end(queue: &mut Queue, namespace: &NamespaceId) -> Vec<&'static str> {
    queue.leave(namespace, 1);
    std::iter::from_fn(|| queue.next(|_| false)).map(|(_, _, waiter)| waiter).collect()
}

fn flooded(limit: usize, waiting: usize) -> Queue {
    let mut queue = Queue::new(limit);
    for _ in 0..limit {
        assert!(ask(&mut queue, &loud(), Class::Beginning, 1, "loud"));
    }
    for _ in 0..waiting {
        assert!(!ask(&mut queue, &loud(), Class::Beginning, 1, "loud"));
    }
    queue
}

#[test]
fn a_namespace_alone_has_all_there_is() {
    let queue = flooded(8, 10);
    assert_eq!((queue.running, queue.waiting(&loud())), (8, 10));
}

#[test]
fn a_namespace_below_its_share_does_not_wait_for_a_flood_of_another() {
    let mut queue = flooded(8, 1000);
    for _ in 0..4 {
        assert!(ask(&mut queue, &quiet(), Class::Beginning, 1, "quiet"), "its share is half of 8");
    }
    assert!(!ask(&mut queue, &quiet(), Class::Beginning, 1, "quiet"));
    assert_eq!(queue.running, 12);
}

#[test]
fn above_their_shares_namespaces_take_turns() {
    let mut queue = flooded(2, 100);
    for _ in 0..3 {
        ask(&mut queue, &quiet(), Class::Beginning, 1, "quiet");
    }
    // One of the quiet ones was admitted at once, so three are under way: one must end before another is admitted.
    assert_eq!(end(&mut queue, &loud()), Vec::<&str>::new());
    let let_in: Vec<_> = (0..4).flat_map(|_| end(&mut queue, &loud())).collect();
    assert_eq!(let_in, ["loud", "quiet", "loud", "quiet"]);
}

#[test]
fn weights_share_the_turns() {
    let mut queue = Queue::new(1);
    assert!(queue.try_enter(&NamespaceId::new("first"), 1, 1));
    for _ in 0..40 {
        queue.wait(&loud(), 3, Class::Beginning, 1, "gold");
        queue.wait(&quiet(), 1, Class::Beginning, 1, "plain");
    }
    let mut last = NamespaceId::new("first");
    let mut let_in = Vec::new();
    for _ in 0..16 {
        queue.leave(&last, 1);
        let (namespace, _, waiter) = queue.next(|_| false).unwrap();
        assert!(queue.next(|_| false).is_none(), "one at a time");
        let_in.push(waiter);
        last = namespace;
    }
    assert_eq!(let_in.iter().filter(|waiter| **waiter == "gold").count(), 12);
    assert_eq!(let_in[..4], ["gold", "gold", "gold", "plain"]);
}

#[test]
fn a_large_request_is_worth_several_turns() {
    let mut queue = Queue::new(1);
    assert!(queue.try_enter(&loud(), 1, 1));
    for _ in 0..3 {
        queue.wait(&loud(), 1, Class::Beginning, 4, "large");
        queue.wait(&quiet(), 1, Class::Beginning, 1, "small");
    }
    let mut under_way = (loud(), 1);
    let mut let_in = Vec::new();
    for _ in 0..5 {
        queue.leave(&under_way.0, under_way.1);
        let (namespace, cost, waiter) = queue.next(|_| false).unwrap();
        let_in.push(waiter);
        under_way = (namespace, cost);
    }
    assert_eq!(let_in, ["large", "small", "small", "small", "large"]);
}

#[test]
fn what_finishes_work_goes_before_what_begins_some() {
    let mut queue = Queue::new(1);
    ask(&mut queue, &loud(), Class::Beginning, 1, "under way");
    ask(&mut queue, &loud(), Class::Beginning, 1, "start");
    ask(&mut queue, &loud(), Class::Finishing, 1, "completion");
    assert_eq!(end(&mut queue, &loud()), ["completion"]);
    assert_eq!(end(&mut queue, &loud()), ["start"]);
}

#[test]
fn who_is_gone_is_not_let_in_and_takes_no_room() {
    let mut queue = Queue::new(1);
    ask(&mut queue, &loud(), Class::Beginning, 1, "under way");
    ask(&mut queue, &quiet(), Class::Beginning, 1, "in its share");
    for waiter in ["gone", "there"] {
        ask(&mut queue, &quiet(), Class::Beginning, 1, waiter);
    }
    queue.leave(&loud(), 1);
    queue.leave(&quiet(), 1);
    let (_, _, waiter) = queue.next(|waiter| *waiter == "gone").unwrap();
    assert_eq!(waiter, "there");
    assert_eq!((queue.running, queue.waiting(&quiet())), (1, 0));
}

#[test]
fn a_namespace_with_nothing_under_way_or_waiting_is_forgotten() {
    let mut queue = flooded(1, 1);
    end(&mut queue, &loud());
    end(&mut queue, &loud());
    assert!(queue.lanes.is_empty() && queue.ring.is_empty());
    assert_eq!((queue.running, queue.waiting, queue.weights), (0, 0, 0));
}
