//! A voter whose disk hangs.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::*;
use crate::command::{Batch, Command};
use crate::settings::{ClusterSettings, InitialVoter};

/// What must happen within a second or two gets this, since the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A disk whose syncs take as long as a test wants.
#[derive(Clone, Debug)]
struct HangingDisk {
    disk: Arc<InMemoryBackend>,
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl HangingDisk {
    fn set(&self, hangs: bool) {
        *self.hangs.0.lock().unwrap_or_else(PoisonError::into_inner) = hangs;
        self.hangs.1.notify_all();
    }
}

impl StorageBackend for HangingDisk {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let hangs = self.hangs.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.hangs.1.wait_while(hangs, |hangs| *hangs).unwrap_or_else(PoisonError::into_inner));
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

async fn leads(voter: &Voter, leads: bool) {
    let mut leadership = voter.leadership.clone();
    let turned = leadership.wait_for(|leadership| leadership.is_some() == leads);
    let turned = Runtime::system().timeout(SOON, turned).await;
    assert!(turned.is_some_and(|turned| turned.is_ok()), "it never comes to leading: {leads}");
}

/// Others elect another meanwhile, and that one waits for every node to come: it must not be kept here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_lets_its_nodes_go() {
    let disk = HangingDisk { disk: Arc::default(), hangs: Arc::default() };
    let database = Database::builder().create_with_backend(disk.clone()).expect("a file");
    let (file, contents) = Disk::start(database).expect("it opens");
    let node = NodeId::new("v");
    let address = "127.0.0.1:1".to_owned();
    let settings = VoterSettings {
        cluster: ClusterSettings { name: "test".into(), history_shards: 8, matching_shards: 4 },
        initial_voters: vec![InitialVoter { id: node.clone(), address: address.clone() }],
        node,
        address,
        data_dir: PathBuf::new(),
        timings: MembershipSettings::default(),
    };
    let voter = Voter::start_on(file, contents, settings, Runtime::system()).await.expect("it starts");
    leads(&voter, true).await;

    disk.set(true);
    let raft = voter.shared.raft.clone();
    let command = Command::Remove { node: "unknown".into(), incarnation: 1 };
    let writing = Runtime::system().spawn(async move { raft.client_write(Batch { commands: vec![command] }).await });
    leads(&voter, false).await;
    assert!(!writing.is_finished(), "the disk hangs");

    disk.set(false);
    leads(&voter, true).await;
    assert!(writing.await.expect("no panic").is_ok(), "it was late, and is done");
}
