//! Turns: whose they are, how many, and what ends the waiting.

use futures::FutureExt;

use super::*;

fn settings() -> AdmissionSettings {
    AdmissionSettings {
        least: 2,
        most: 2,
        waiting: 3,
        longest_wait: Duration::from_millis(300),
        ..AdmissionSettings::default()
    }
}

fn admission(settings: AdmissionSettings) -> Arc<Admission> {
    Admission::new(settings, Runtime::virtual_from(Timestamp::from_millis(1_000_000)))
}

/// The turn of a request, if it need not wait.
fn at_once(admission: &Arc<Admission>, name: &str, class: Class) -> Option<ServiceResult<Turn>> {
    ask(admission, name, class).now_or_never()
}

async fn ask(admission: &Arc<Admission>, name: &str, class: Class) -> ServiceResult<Turn> {
    admission.enter(Entrant { namespace: &NamespaceId::new(name), name, class, bytes: 100 }).await
}

fn turn(admission: &Arc<Admission>, name: &str) -> Turn {
    at_once(admission, name, Class::Beginning).expect("it need not wait").unwrap()
}

#[tokio::test(start_paused = true)]
async fn alone_a_namespace_is_not_held_back() {
    let admission = admission(settings());
    let turns: Vec<Turn> = (0..1000).map(|_| turn(&admission, "loud")).collect();
    assert_eq!(turns.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_flood_delays_another_namespace_by_no_request_and_then_waits_itself() {
    let admission = admission(settings());
    let mut under_way: Vec<Turn> = (0..10).map(|_| turn(&admission, "loud")).collect();
    let _quiet = turn(&admission, "quiet");
    let waiting = ask(&admission, "loud", Class::Beginning);
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    // Eleven are under way, two may be: ten must end first.
    while under_way.len() > 1 {
        under_way.pop();
        assert!(futures::poll!(&mut waiting).is_pending(), "{} are under way", under_way.len() + 1);
    }
    under_way.pop();
    assert!(futures::poll!(&mut waiting).is_ready());
}

#[tokio::test(start_paused = true)]
async fn too_many_that_wait_are_refused() {
    let admission = admission(settings());
    let _under_way: Vec<Turn> = (0..10).map(|_| turn(&admission, "loud")).collect();
    let _quiet = turn(&admission, "quiet");
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(ask(&admission, "loud", Class::Finishing))).collect();
    for one in &mut waiting {
        assert!(futures::poll!(one).is_pending());
    }
    let refused = at_once(&admission, "loud", Class::Finishing).unwrap().err().unwrap();
    let message =
        "3 requests to namespace \"loud\" wait for their turn, the first for 0ns; at most 3 for 300ms are allowed";
    let cause = ResourceExhaustedCause::SystemOverloaded;
    assert_eq!(
        refused,
        ServiceError::ResourceExhausted { cause, message: message.to_owned(), retry_after: Some(SHORTEST_RETRY) }
    );
    assert!(at_once(&admission, "another", Class::Beginning).unwrap().is_ok(), "no other namespace is refused");
}

#[tokio::test(start_paused = true)]
async fn new_work_is_refused_while_other_new_work_waits_too_long() {
    let admission = admission(settings());
    let _under_way: Vec<Turn> = (0..10).map(|_| turn(&admission, "loud")).collect();
    let _quiet = turn(&admission, "quiet");
    let mut waiting = Box::pin(ask(&admission, "loud", Class::Beginning));
    assert!(futures::poll!(&mut waiting).is_pending());
    admission.runtime.sleep(Duration::from_millis(301)).await;
    let refused = at_once(&admission, "loud", Class::Beginning).unwrap().err().unwrap().to_string();
    assert!(refused.contains("the first for 301ms"), "{refused}");
    assert!(at_once(&admission, "loud", Class::Finishing).is_none(), "what finishes work waits");
}

#[tokio::test(start_paused = true)]
async fn once_the_other_namespace_is_silent_nothing_is_held_back_any_more() {
    let admission = admission(settings());
    let gone = CancellationToken::new();
    let adapting = admission.runtime.spawn(Arc::clone(&admission).adapt(gone.clone()));
    let _under_way: Vec<Turn> = (0..10).map(|_| turn(&admission, "loud")).collect();
    drop(turn(&admission, "quiet"));
    assert!(at_once(&admission, "loud", Class::Beginning).is_none());
    let began = admission.runtime.now();
    ask(&admission, "loud", Class::Beginning).await.unwrap();
    let contended_for = admission.settings.contended_for;
    let waited = admission.runtime.now().since(began);
    assert!((contended_for..contended_for + 2 * CHECK_INTERVAL).contains(&waited), "{waited:?}");
    gone.cancel();
    adapting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_nothing_lags_more_and_more_is_admitted() {
    let admission = admission(AdmissionSettings { most: 50, ..settings() });
    let gone = CancellationToken::new();
    let adapting = admission.runtime.spawn(Arc::clone(&admission).adapt(gone.clone()));
    let (_loud, _quiet) = (turn(&admission, "loud"), turn(&admission, "quiet"));
    admission.runtime.sleep(Duration::from_millis(500)).await;
    let admitted: Vec<_> = std::iter::from_fn(|| at_once(&admission, "quiet", Class::Beginning)).collect();
    assert_eq!(admitted.len(), 48);
    gone.cancel();
    adapting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_gone_gives_its_turn_to_the_next() {
    let admission = admission(AdmissionSettings { least: 1, most: 1, ..settings() });
    let (loud, _quiet) = (turn(&admission, "loud"), turn(&admission, "quiet"));
    let mut first = Box::pin(ask(&admission, "quiet", Class::Beginning));
    let mut second = Box::pin(ask(&admission, "quiet", Class::Beginning));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    drop(_quiet);
    drop(loud);
    // It has its turn and is dropped before it is polled.
    drop(first);
    assert!(futures::poll!(&mut second).is_ready());
}
