//! Logs that SQLite wrote, as a killed process leaves them, and what damage of every kind makes of them.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

/// How many transactions a log has, each of this many rows of a page and a bit.
const TRANSACTIONS: u32 = 6;
const ROWS: usize = 3;

/// The files beside a database, at one moment.
#[derive(Clone)]
struct Files {
    log: Vec<u8>,
    index: Option<Vec<u8>>,
}

impl Files {
    fn of(database: &Path) -> Self {
        let index = Some(std::fs::read(beside(database, "-shm")).unwrap());
        Self { log: std::fs::read(beside(database, "-wal")).unwrap(), index }
    }

    fn check(&self) -> Result<WalState, String> {
        let directory = TempDir::new().unwrap();
        let database = directory.path().join("store.db");
        std::fs::write(&database, "").unwrap();
        std::fs::write(beside(&database, "-wal"), &self.log).unwrap();
        if let Some(index) = &self.index {
            std::fs::write(beside(&database, "-shm"), index).unwrap();
        }
        check(&database).map_err(|error| error.to_string())
    }

    fn without_index(&self) -> Self {
        Self { index: None, ..self.clone() }
    }

    fn with_log(&self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.log);
        changed
    }

    /// Where transactions end, in frames, and how many frames there are.
    fn ends(&self) -> Vec<u32> {
        let frames = self.log[HEADER_BYTES..].chunks(FRAME_HEADER_BYTES + PAGE);
        (1..).zip(frames).filter(|(_, frame)| word(frame, 4) != 0).map(|(number, _)| number).collect()
    }
}

fn offset_of(frame: u32) -> usize {
    HEADER_BYTES + (frame as usize - 1) * (FRAME_HEADER_BYTES + PAGE)
}

fn database(directory: &TempDir) -> (std::path::PathBuf, Connection) {
    let path = directory.path().join("store.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (value)",
        )
        .unwrap();
    (path, connection)
}

fn transact(connection: &Connection) {
    connection.execute_batch("BEGIN").unwrap();
    for _ in 0..ROWS {
        connection.execute("INSERT INTO t VALUES (randomblob(5000))", []).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn written() -> Files {
    let directory = TempDir::new().unwrap();
    let (path, connection) = database(&directory);
    (1..TRANSACTIONS).for_each(|_| transact(&connection));
    Files::of(&path)
}

#[test]
fn an_undamaged_log_is_taken_with_and_without_its_index() {
    let files = written();
    let ends = files.ends();
    assert_eq!(ends.len(), TRANSACTIONS as usize);
    let expected = WalState { committed_frames: *ends.last().unwrap(), has_first_page: true };
    assert_eq!(files.check(), Ok(expected));
    assert_eq!(files.without_index().check(), Ok(expected));
    let none = Files { log: Vec::new(), index: None };
    assert_eq!(none.check(), Ok(WalState::default()));
}

#[test]
fn a_flipped_bit_in_any_frame_is_refused_with_the_frame() {
    let files = written();
    let ends = files.ends();
    let last_whole = ends[ends.len() - 2];
    for frame in 1..=*ends.last().unwrap() {
        // In each field of the frame's header, and in its page.
        for at in [0, 3, 7, 8, 13, 16, 23, 24, 2000, FRAME_HEADER_BYTES + PAGE - 1] {
            let damaged = files.with_log(|log| log[offset_of(frame) + at] ^= 1 << (at % 8));
            let refusal = damaged.check().expect_err("what was acknowledged is damaged");
            assert!(refusal.contains(&format!("frame {frame}")), "{frame} at {at}: {refusal}");
            // Without the index, nothing shows whether the last transaction was ever acknowledged, nor, if its end cannot be
            // recognised, the one before.
            let alone = damaged.without_index().check();
            let end_is_hidden = at < FRAME_HEADER_BYTES && frame == last_whole;
            assert!(alone.is_err() || frame > last_whole || end_is_hidden, "{frame} at {at}: {alone:?}");
        }
    }
}

#[test]
fn a_flipped_bit_in_the_header_is_refused() {
    let files = written();
    for bit in 0..HEADER_BYTES * 8 {
        let damaged = files.with_log(|log| log[bit / 8] ^= 1 << (bit % 8));
        assert!(damaged.check().is_err(), "bit {bit}");
        assert!(damaged.without_index().check().is_err(), "bit {bit}");
    }
}

#[test]
fn a_log_that_was_cut_off_is_refused_by_its_index() {
    let files = written();
    let length = files.log.len();
    for keep in (0..length).step_by(777).chain([HEADER_BYTES, offset_of(3), length - 1]) {
        let cut = files.with_log(|log| log.truncate(keep));
        let refusal = cut.check().expect_err("what was acknowledged is missing");
        assert!(refusal.contains("acknowledged"), "{keep}: {refusal}");
        // This is how a torn end looks.
        assert!(cut.without_index().check().is_ok(), "{keep}");
    }
}

#[test]
fn a_last_transaction_that_reached_the_disk_in_parts_is_no_damage() {
    let directory = TempDir::new().unwrap();
    let (path, connection) = database(&directory);
    (1..TRANSACTIONS).for_each(|_| transact(&connection));
    let before = Files::of(&path);
    transact(&connection);
    let after = Files::of(&path);
    let committed = *before.ends().last().unwrap();
    let frames = committed + 1..=*after.ends().last().unwrap();
    assert!(frames.clone().count() > 2);
    for missing in 1_u32..1 << frames.clone().count() {
        // As the power cut left it: the log in parts, the index as of the last fsync or not there at all.
        let torn = Files { index: before.index.clone(), ..after.clone() }.with_log(|log| {
            for (number, frame) in frames.clone().enumerate().filter(|(number, _)| missing >> number & 1 == 1) {
                let half = if number % 2 == 0 { 0 } else { 512 };
                log[offset_of(frame) + half..offset_of(frame + 1)].fill(0);
            }
        });
        for files in [&torn, &torn.without_index()] {
            assert_eq!(files.check().map(|state| state.committed_frames), Ok(committed), "{missing:b}");
        }
    }
}

#[test]
fn what_an_earlier_round_of_the_log_left_behind_is_no_damage() {
    let directory = TempDir::new().unwrap();
    let (path, connection) = database(&directory);
    (1..TRANSACTIONS).for_each(|_| transact(&connection));
    let earlier = Files::of(&path);
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    // All of it is in the file: should the log be lost now, nothing is.
    let copied = Files::of(&path).with_log(Vec::clear);
    assert_eq!(copied.check(), Ok(WalState::default()));
    connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
    let files = Files::of(&path);
    assert_eq!(files.log.len(), earlier.log.len());
    let committed = files.check().unwrap().committed_frames;
    assert!((1..10).contains(&committed), "{committed}");
    assert!(files.with_log(|log| log[offset_of(1) + 100] ^= 1).check().is_err(), "the index knows of it");
    // An index that the disk had from the earlier round says nothing of this one.
    let stale = Files { index: earlier.index, ..files };
    assert_eq!(stale.check().map(|state| state.committed_frames), Ok(committed));
}
