//! A ring that tests turn, and nodes that follow it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use cluster::{Membership, NoLeader, NodeId, Ownership, Ring, Sharded};
use entities::{BoxFuture, CallError, EntityKey, Host, KindHandle, ShardOpener, ShardSettings, Shards};
use runtime::Runtime;
use storage::Store;
use tokio::sync::watch;

use crate::ledger::{Input, Ledger, Overdrawn, Reply};
use crate::world::{Bank, accounts};

/// The leader's ring.
#[derive(Clone)]
pub struct Leader {
    truth: watch::Sender<Arc<Ring>>,
    views: Arc<Mutex<Vec<Weak<View>>>>,
    asked: Arc<AtomicUsize>,
}

/// One node's view of it.
pub struct View {
    seen: watch::Sender<Arc<Ring>>,
    leader: Leader,
    /// Whether news come here, and the leader can be asked.
    cut_off: AtomicBool,
}

impl Leader {
    /// Shards without owners.
    pub fn new(shards: u32) -> Self {
        let mut ring = Ring::alone(&NodeId::new("elsewhere"), shards, 1);
        ring.version = 0;
        Self { truth: watch::Sender::new(Arc::new(ring)), views: Arc::default(), asked: Arc::default() }
    }

    /// The next version: each shard goes to the node that `owner` names.
    pub fn turn(&self, owner: impl Fn(u32) -> Option<&'static str>) {
        self.truth.send_modify(|ring| {
            let mut next = Ring::clone(ring);
            next.version += 1;
            for (shard, place) in (0..).zip(&mut next.history) {
                *place = owner(shard).map(NodeId::new);
            }
            *ring = Arc::new(next);
        });
        self.views.lock().unwrap().iter().filter_map(Weak::upgrade).for_each(|view| view.catch_up());
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A view that follows at once while it is not cut off.
    pub fn view(&self) -> Arc<View> {
        let seen = watch::Sender::new(Arc::clone(&self.truth.borrow()));
        let view = Arc::new(View { seen, leader: self.clone(), cut_off: AtomicBool::new(false) });
        self.views.lock().unwrap().push(Arc::downgrade(&view));
        view
    }
}

impl View {
    fn catch_up(&self) {
        if !self.cut_off.load(Ordering::Relaxed) {
            self.seen.send_replace(Arc::clone(&self.leader.truth.borrow()));
        }
    }

    pub fn cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::Relaxed);
        self.catch_up();
    }
}

#[async_trait]
impl Membership for View {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.seen.subscribe()
    }

    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader> {
        self.leader.asked.fetch_add(1, Ordering::Relaxed);
        if self.cut_off.load(Ordering::Relaxed) {
            return Err(NoLeader("no leader".to_owned()));
        }
        self.catch_up();
        Ok(Arc::clone(&self.seen.borrow()))
    }
}

/// Notes which shards have closed.
#[derive(Default)]
pub struct Doorkeeper {
    pub bank: Arc<Bank>,
    pub closed: Mutex<Vec<u32>>,
}

impl Host<Ledger> for Doorkeeper {
    fn carry_out(self: Arc<Self>, key: EntityKey, name: u64) -> BoxFuture<Option<Input>> {
        Arc::clone(&self.bank).carry_out(key, name)
    }

    fn committed(&self, key: &EntityKey) {
        self.bank.committed(key);
    }

    fn closed(&self, shard: u32) {
        self.closed.lock().unwrap().push(shard);
    }
}

/// A process.
pub struct Node {
    pub shards: Arc<Shards>,
    pub accounts: KindHandle<Ledger>,
    pub view: Arc<View>,
    pub door: Arc<Doorkeeper>,
}

impl Node {
    pub fn start(name: &'static str, leader: &Leader, store: Store, runtime: &Runtime) -> Self {
        Self::start_with(name, leader, store, runtime, ShardSettings::default())
    }

    pub fn start_with(
        name: &'static str,
        leader: &Leader,
        store: Store,
        runtime: &Runtime,
        settings: ShardSettings,
    ) -> Self {
        let (view, door) = (leader.view(), Arc::new(Doorkeeper::default()));
        let membership = Arc::clone(&view) as Arc<dyn Membership>;
        let opener = ShardOpener {
            kinds: accounts(Arc::clone(&door) as _),
            store,
            runtime: runtime.clone(),
            settings,
            ownership: Ownership { membership, service: Sharded::History, node: NodeId::new(name) },
        };
        let shards = Shards::new(opener);
        shards.serve();
        Self { accounts: shards.of(), shards, view, door }
    }

    pub async fn call(&self, key: &EntityKey, input: Input) -> Result<Reply, CallError<Overdrawn>> {
        self.accounts.call(key, input).await
    }

    /// The epoch of a shard that is open here.
    pub fn epoch(&self, shard: u32) -> Option<u64> {
        self.shards.stats().into_iter().find(|(number, _)| *number == shard).map(|(_, stats)| stats.epoch.0)
    }

    pub fn open_shards(&self) -> usize {
        self.shards.stats().len()
    }
}

/// Asks each node until one answers as the owner.
pub async fn routed(
    nodes: &[&Node],
    runtime: &Runtime,
    key: &EntityKey,
    input: impl Fn() -> Input,
) -> Result<Reply, CallError<Overdrawn>> {
    loop {
        for node in nodes {
            match node.call(key, input()).await {
                Err(CallError::NotOwner) => {}
                answer => return answer,
            }
        }
        runtime.sleep(Duration::from_millis(10)).await;
    }
}
