//! The rules of logs.

use ids::Timestamp;

use super::{FIRST, SECOND, Subject, group_id, log_id, noise, text};
use crate::{Append, Epoch, Group, Log, LogId, Opened, Reopen, Seq};

async fn append(log: &dyn Log, id: &LogId, epoch: Epoch, seq: u64) -> Append {
    log.append(id, epoch, Seq(seq), group_id(seq), text(&format!("group {seq}"))).await
}

async fn append_all(log: &dyn Log, id: &LogId, epoch: Epoch, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        assert_eq!(append(log, id, epoch, seq).await, Append::Appended, "append {seq}");
    }
}

fn seqs(opened: &Opened) -> Vec<u64> {
    opened.tail.iter().map(|group| group.seq.0).collect()
}

/// Opening a log that was never opened creates it.
pub async fn a_new_log_is_empty(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    assert_eq!(log.epoch(&id).await.unwrap(), Epoch(0));
    let opened = log.open(&id, FIRST).await.unwrap();
    assert_eq!(opened.head.epoch, Epoch(1));
    assert_eq!(opened.head.last, Seq(0));
    assert_eq!(opened.head.trimmed_below, Seq(1));
    assert_eq!(opened.head.watermark, Timestamp::EPOCH);
    assert_eq!(opened.tail, []);
    assert_eq!(log.epoch(&id).await.unwrap(), Epoch(1));
    assert!(matches!(log.epoch_if_local(&id), None | Some(Epoch(1))));
}

/// What was appended comes back whole and in order, under the epoch that wrote it.
pub async fn appends_are_found_by_the_next_opener(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let first = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, first, 1..=2).await;
    let second = log.open(&id, SECOND).await.unwrap();
    append_all(&*log, &id, second.head.epoch, 3..=3).await;
    let third = log.open(&id, FIRST).await.unwrap();
    assert_eq!(third.head.last, Seq(3));
    let expected: Vec<Group> = [(1, first), (2, first), (3, second.head.epoch)]
        .map(|(seq, epoch)| Group { seq: Seq(seq), id: group_id(seq), epoch, bytes: text(&format!("group {seq}")) })
        .into();
    assert_eq!(third.tail, expected);
}

/// The last opener wins, and the deposed owner's append leaves nothing behind.
pub async fn a_second_opener_fences_the_first(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let first = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, first, 1..=1).await;
    let second = log.open(&id, SECOND).await.unwrap().head.epoch;
    assert!(second > first, "epoch {second:?} must be above {first:?}");
    assert_eq!(append(&*log, &id, first, 2).await, Append::Fenced);
    assert_eq!(append(&*log, &id, second, 2).await, Append::Appended);
    assert_eq!(append(&*log, &id, first, 3).await, Append::Fenced);
    assert_eq!(seqs(&log.open(&id, FIRST).await.unwrap()), [1, 2]);
}

/// Trims and watermarks are fenced like appends.
pub async fn a_deposed_owner_cannot_trim_or_move_the_watermark(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let first = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, first, 1..=3).await;
    let second = log.open(&id, SECOND).await.unwrap().head.epoch;
    assert_eq!(log.trim(&id, first, Seq(3)).await, Append::Fenced);
    assert_eq!(log.set_watermark(&id, first, Timestamp::from_millis(9)).await, Append::Fenced);
    let opened = log.open(&id, FIRST).await.unwrap();
    assert_eq!(seqs(&opened), [1, 2, 3]);
    assert_eq!((opened.head.trimmed_below, opened.head.watermark), (Seq(1), Timestamp::EPOCH));
    assert!(opened.head.epoch > second);
}

/// An append elsewhere than at the end is `Unknown`, since under our own epoch only an earlier append of ours can have
/// taken the place, and it changes nothing.
pub async fn an_append_must_be_the_next(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let epoch = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, epoch, 1..=2).await;
    for elsewhere in [0, 1, 2, 4] {
        assert_eq!(append(&*log, &id, epoch, elsewhere).await, Append::Unknown, "append at {elsewhere}");
    }
    append_all(&*log, &id, epoch, 3..=3).await;
    assert_eq!(seqs(&log.open(&id, FIRST).await.unwrap()), [1, 2, 3]);
}

/// Epochs, positions and trims of one log say nothing about another, whatever their names share.
pub async fn logs_are_apart(subject: &mut dyn Subject) {
    let log = subject.store().log;
    let (one, ten) = (log_id("history/1"), log_id("history/10"));
    let epoch = log.open(&one, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &one, epoch, 1..=2).await;
    log.open(&ten, SECOND).await.unwrap();
    let of_ten = log.open(&ten, SECOND).await.unwrap();
    assert_eq!((of_ten.head.epoch, of_ten.head.last), (Epoch(2), Seq(0)));
    append_all(&*log, &ten, of_ten.head.epoch, 1..=1).await;
    assert_eq!(log.trim(&ten, of_ten.head.epoch, Seq(2)).await, Append::Appended);
    append_all(&*log, &one, epoch, 3..=3).await;
    assert_eq!(seqs(&log.open(&one, FIRST).await.unwrap()), [1, 2, 3]);
    assert_eq!(seqs(&log.open(&ten, SECOND).await.unwrap()), []);
}

/// Groups below the trim point are gone, positions go on where they were, and a lower trim point changes nothing.
pub async fn trimming_forgets_what_is_below(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let epoch = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, epoch, 1..=5).await;
    for below in [4, 2] {
        assert_eq!(log.trim(&id, epoch, Seq(below)).await, Append::Appended);
    }
    let opened = log.open(&id, SECOND).await.unwrap();
    assert_eq!((seqs(&opened), opened.head.trimmed_below, opened.head.last), (vec![4, 5], Seq(4), Seq(5)));

    // All of it can go; more than all of it cannot.
    let epoch = opened.head.epoch;
    assert_eq!(log.trim(&id, epoch, Seq(1000)).await, Append::Appended);
    subject.restart().await;
    let log = subject.store().log;
    let opened = log.open(&id, FIRST).await.unwrap();
    assert_eq!((seqs(&opened), opened.head.trimmed_below, opened.head.last), (vec![], Seq(6), Seq(5)));
    append_all(&*log, &id, opened.head.epoch, 6..=6).await;
    assert_eq!(seqs(&log.open(&id, FIRST).await.unwrap()), [6]);
}

/// A watermark below the present one is accepted and changes nothing.
pub async fn the_watermark_never_moves_back(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let epoch = log.open(&id, FIRST).await.unwrap().head.epoch;
    for at in [5, 9, 7] {
        assert_eq!(log.set_watermark(&id, epoch, Timestamp::from_millis(at)).await, Append::Appended);
    }
    assert_eq!(log.open(&id, FIRST).await.unwrap().head.watermark, Timestamp::from_millis(9));
}

/// A reopen raises the epoch, shows the tail, and makes the old epoch void.
pub async fn reopening_keeps_the_log_ours(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let old = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, old, 1..=2).await;
    let Reopen::Reopened(opened) = log.reopen(&id, old, FIRST).await.unwrap() else { panic!("not reopened") };
    assert_eq!(opened.head.epoch, Epoch(old.0 + 1));
    assert_eq!(seqs(&opened), [1, 2]);
    assert_eq!(append(&*log, &id, old, 3).await, Append::Fenced);
    append_all(&*log, &id, opened.head.epoch, 3..=3).await;
}

/// A reopen whose answer was lost can be repeated with the same epoch and nonce, and gives the same epoch.
pub async fn a_repeated_reopen_finds_the_first(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let old = log.open(&id, FIRST).await.unwrap().head.epoch;
    let first = log.reopen(&id, old, FIRST).await.unwrap();
    assert_eq!(log.reopen(&id, old, FIRST).await.unwrap(), first);
    let Reopen::Reopened(opened) = first else { panic!("not reopened") };
    append_all(&*log, &id, opened.head.epoch, 1..=1).await;
    // One more step: now only the newer epoch can be reopened from.
    assert!(matches!(log.reopen(&id, opened.head.epoch, FIRST).await.unwrap(), Reopen::Reopened(_)));
    assert_eq!(log.reopen(&id, old, FIRST).await.unwrap(), Reopen::Fenced);
}

/// A reopen is no way back for a deposed owner, even one that opened the log again by its own nonce.
pub async fn reopening_after_another_opener_is_fenced(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    assert_eq!(log.reopen(&id, Epoch(0), FIRST).await.unwrap(), Reopen::Fenced, "a log never opened");
    let first = log.open(&id, FIRST).await.unwrap().head.epoch;
    let second = log.open(&id, SECOND).await.unwrap().head.epoch;
    for (epoch, owner) in [(first, FIRST), (second, FIRST), (first, SECOND)] {
        assert_eq!(log.reopen(&id, epoch, owner).await.unwrap(), Reopen::Fenced, "{epoch:?} {owner:?}");
    }
    assert_eq!(append(&*log, &id, second, 1).await, Append::Appended, "a fenced reopen must change nothing");
    // The same nonce opened again: that was an open, not a reopen of ours, so the older epoch stays deposed.
    log.open(&id, SECOND).await.unwrap();
    assert_eq!(log.reopen(&id, second, SECOND).await.unwrap(), Reopen::Fenced);
}

/// Groups of any size come back byte for byte.
pub async fn large_groups_survive(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let epoch = log.open(&id, FIRST).await.unwrap().head.epoch;
    let contents: Vec<_> =
        [0, 1, 4000, 65_536, 1 << 20, 3_000_001].into_iter().zip(1..).map(|(size, seed)| noise(size, seed)).collect();
    for (content, seq) in contents.iter().zip(1..) {
        let outcome = log.append(&id, epoch, Seq(seq), group_id(seq), content.clone()).await;
        assert_eq!(outcome, Append::Appended, "{} bytes", content.len());
    }
    subject.restart().await;
    let opened = subject.store().log.open(&id, FIRST).await.unwrap();
    let found: Vec<_> = opened.tail.into_iter().map(|group| group.bytes).collect();
    assert!(found == contents, "a large group changed");
}

/// Epoch, positions, trim point, watermark and a pending reopen outlive the process.
pub async fn a_restart_keeps_everything(subject: &mut dyn Subject) {
    let (log, id) = (subject.store().log, log_id("history/0"));
    let epoch = log.open(&id, FIRST).await.unwrap().head.epoch;
    append_all(&*log, &id, epoch, 1..=4).await;
    assert_eq!(log.trim(&id, epoch, Seq(3)).await, Append::Appended);
    assert_eq!(log.set_watermark(&id, epoch, Timestamp::from_nanos(123_456_789_012_345_678)).await, Append::Appended);
    drop(log);
    subject.restart().await;
    let log = subject.store().log;
    assert_eq!(log.epoch(&id).await.unwrap(), epoch);
    assert!(matches!(log.epoch_if_local(&id), None | Some(Epoch(1))));
    let Reopen::Reopened(first) = log.reopen(&id, epoch, FIRST).await.unwrap() else { panic!("not reopened") };
    drop(log);
    subject.restart().await;
    let log = subject.store().log;
    assert_eq!(log.reopen(&id, epoch, FIRST).await.unwrap(), Reopen::Reopened(first.clone()));
    assert_eq!(first.head.watermark, Timestamp::from_nanos(123_456_789_012_345_678));
    assert_eq!((seqs(&first), first.head.trimmed_below, first.head.last), (vec![3, 4], Seq(3), Seq(4)));
    append_all(&*log, &id, first.head.epoch, 5..=5).await;
}
