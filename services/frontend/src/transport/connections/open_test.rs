//! Who goes when there are too many connections.

use futures::FutureExt;

use super::*;

const HOME: &str = "192.0.2.1";
const AWAY: &str = "192.0.2.2";

fn admitted(open: &Arc<Open>, address: &str) -> Place {
    match open.try_admit(address.parse().unwrap()) {
        Admission::Admitted(place) => place,
        Admission::Full => panic!("full"),
        Admission::TooMany => panic!("too many of {address}"),
    }
}

fn closing<const N: usize>(places: [&Place; N]) -> [bool; N] {
    places.map(|place| place.info.is_closing())
}

#[test]
fn above_the_bound_those_go_first_that_never_had_a_request_and_then_those_unused_for_longest() {
    let open = Open::new(4, 4);
    let [busy, used, unused, recent] = [(); 4].map(|()| admitted(&open, HOME));
    let request = busy.info.begin().unwrap();
    drop(used.info.begin());
    drop(recent.info.begin());
    let fifth = admitted(&open, AWAY);
    assert_eq!(closing([&busy, &used, &unused, &recent, &fifth]), [false, false, true, false, false]);
    let first_of_fifth = fifth.info.begin().unwrap();
    let sixth = admitted(&open, AWAY);
    let first_of_sixth = sixth.info.begin().unwrap();
    assert_eq!(closing([&busy, &used, &recent, &fifth, &sixth]), [false, true, false, false, false]);
    let seventh = admitted(&open, AWAY);
    let first_of_seventh = seventh.info.begin().unwrap();
    assert_eq!(closing([&busy, &recent, &fifth, &sixth, &seventh]), [false, true, false, false, false]);
    assert!(matches!(open.try_admit(HOME.parse().unwrap()), Admission::Full), "all have requests");
    drop((request, first_of_fifth, first_of_sixth, first_of_seventh));
    assert!(recent.info.begin().is_none(), "a connection that is being closed serves no request");
}

#[test]
fn an_address_with_too_many_connections_pays_with_its_own() {
    let open = Open::new(100, 2);
    let [other, first, second] = [admitted(&open, AWAY), admitted(&open, HOME), admitted(&open, HOME)];
    let third = admitted(&open, HOME);
    assert_eq!(closing([&other, &first, &second, &third]), [false, true, false, false]);
    let requests = (second.info.begin().unwrap(), third.info.begin().unwrap());
    assert!(matches!(open.try_admit(HOME.parse().unwrap()), Admission::TooMany));
    drop(admitted(&open, AWAY));
    drop((third, requests));
    admitted(&open, HOME);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_waits_while_all_have_requests_and_no_longer() {
    let open = Open::new(1, 1);
    let place = open.admit(HOME.parse().unwrap()).await.unwrap();
    let request = place.info.begin().unwrap();
    let mut newcomer = Box::pin(open.admit(AWAY.parse().unwrap()));
    assert!((&mut newcomer).now_or_never().is_none());
    drop(request);
    let newcomer = newcomer.await.unwrap();
    assert_eq!(closing([&place, &newcomer]), [true, false]);
    let request = newcomer.info.begin().unwrap();
    let mut last = Box::pin(open.admit(HOME.parse().unwrap()));
    assert!((&mut last).now_or_never().is_none());
    drop((request, newcomer));
    assert!(last.await.is_some());
    drop(place);
    assert_eq!(open.lock().connections.len(), 0);
    assert!(open.lock().of_address.is_empty());
}

#[test]
fn addresses_of_one_site_count_as_one() {
    let same = |a: &str, b: &str| site(a.parse().unwrap()) == site(b.parse().unwrap());
    assert!(same("2001:db8::1", "2001:db8::ffff:2"));
    assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
    assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
}
