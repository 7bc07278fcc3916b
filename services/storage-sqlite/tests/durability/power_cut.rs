//! The power fails at every write and fsync in turn. The disk keeps what was fsynced, and of the rest nothing, or some
//! of it, torn. Everything acknowledged must be there; with `synchronous` off the suite must notice that it is not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use storage_sqlite::{SqliteOptions, Synchronous};
use tempfile::TempDir;

use crate::vfs::{self, Change, TrackedFile, Verdict};
use crate::workload::{self, Acknowledged, SHARDS};

const ROUNDS: u64 = 8;

/// The disk and the acknowledgements at one moment.
struct Moment {
    acknowledged: Acknowledged,
    files: Vec<(PathBuf, TrackedFile)>,
}

/// What the disk does with what was never fsynced.
#[derive(Clone, Copy, Debug)]
enum Cut {
    DropsAll,
    /// Some of the writes, in units of a sector.
    TearsFrom(u64),
}

/// Runs the workload on a watched disk and remembers the disk before each of its events.
async fn run_watched(synchronous: Synchronous) -> Vec<Moment> {
    let directory = TempDir::new().unwrap();
    let directory_path = directory.path().canonicalize().unwrap();
    let acknowledged = Arc::new(Mutex::new([0; SHARDS]));
    let moments = Arc::new(Mutex::new(Vec::new()));
    let watcher = {
        let (acknowledged, moments, directory) = (acknowledged.clone(), moments.clone(), directory_path.clone());
        move |_, _: &Path| {
            // First what was acknowledged, then the disk: the other way round a commit could slip in between.
            let moment = loop {
                let before = *acknowledged.lock().unwrap();
                let files = vfs::files_in(&directory).into_iter().collect();
                // The thread that checkpoints may have been delayed in between, while the others went on.
                if *acknowledged.lock().unwrap() == before {
                    break Moment { acknowledged: before, files };
                }
            };
            moments.lock().unwrap().push(moment);
            Verdict::Pass
        }
    };
    vfs::watch(&directory_path, Arc::new(watcher));
    let options = SqliteOptions::default().vfs(vfs::NAME).synchronous(synchronous).checkpoint_after_bytes(40 << 12);
    let store = options.open(&directory_path.join("store.db")).unwrap();
    workload::run(&store.store(), ROUNDS, |shard, done| acknowledged.lock().unwrap()[shard] = done).await;
    assert_eq!(*acknowledged.lock().unwrap(), [ROUNDS as usize * 5; SHARDS]);
    assert!(store.stats().checkpoints > 0, "the workload is too short to checkpoint");
    store.close().await;
    std::mem::take(&mut *moments.lock().unwrap())
}

/// Cuts the power at that moment, starts again, and looks.
async fn look_after(moment: &Moment, cut: Cut) -> Result<(), String> {
    let directory = TempDir::new().unwrap();
    let mut dice = Dice(match cut {
        Cut::DropsAll => 0,
        Cut::TearsFrom(seed) => seed,
    });
    for (path, file) in &moment.files {
        let mut content = file.durable.clone();
        if let Cut::TearsFrom(_) = cut {
            file.pending.iter().for_each(|change| tear(change, &mut content, &mut dice));
        }
        std::fs::write(directory.path().join(path.file_name().unwrap()), content).unwrap();
    }
    let path = directory.path().join("store.db");
    let opened = SqliteOptions::default().synchronous(Synchronous::Off).on_failure(|_| {}).open(&path);
    let store = opened.map_err(|error| error.to_string())?;
    let outcome = workload::check(&store.store(), &moment.acknowledged).await;
    store.close().await;
    outcome
}

fn tear(change: &Change, content: &mut Vec<u8>, dice: &mut Dice) {
    match change {
        Change::Write(offset, bytes) => {
            for (number, sector) in bytes.chunks(512).enumerate() {
                if dice.roll() & 1 == 1 {
                    Change::Write(offset + number * 512, sector.to_vec()).apply(content);
                }
            }
        }
        Change::Truncate(_) if dice.roll() & 1 == 1 => change.apply(content),
        Change::Truncate(_) => {}
    }
}

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}

/// The moments at which something is wrong, of all that have a log to lose.
async fn losses(moments: &[Moment], cut: impl Fn(usize) -> Cut) -> Vec<String> {
    let mut losses = Vec::new();
    for (number, moment) in moments.iter().enumerate() {
        if let Err(wrong) = look_after(moment, cut(number)).await {
            losses.push(format!("power cut {number} of {}, {:?}: {wrong}", moments.len(), cut(number)));
        }
    }
    losses
}

#[tokio::test]
async fn a_power_cut_loses_nothing_acknowledged() {
    let moments = run_watched(Synchronous::Full).await;
    assert_eq!(losses(&moments, |_| Cut::DropsAll).await, Vec::<String>::new());
    assert_eq!(losses(&moments, |number| Cut::TearsFrom(number as u64 + 1)).await, Vec::<String>::new());
}

#[tokio::test]
async fn without_synchronous_this_suite_notices_the_loss() {
    let mut moments = run_watched(Synchronous::Off).await;
    // Nearly all of them lose something; a quarter is enough to see it.
    let mut number = 0;
    moments.retain(|_| {
        number += 1;
        number % 4 == 0
    });
    let losses = losses(&moments, |_| Cut::DropsAll).await;
    assert!(losses.len() > moments.len() / 2, "{} losses in {} power cuts", losses.len(), moments.len());
}
