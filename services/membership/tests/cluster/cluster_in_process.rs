//! Starts voters and members in this process, each with a server of its own, and ends them as if they had died.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use cluster::{Membership, NodeId, Ring, Role, Sharded};
use membership::{
    Admin, ClusterSettings, InitialVoter, JoinError, Member, MemberSettings, StartError, Voter, VoterSettings,
};
use runtime::Runtime;
use settings::MembershipSettings;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use crate::cables::Cable;

/// Bounds in these tests are generous, since the machine may be busy: what must happen within one second gets this.
pub const SOON: Duration = Duration::from_secs(60);

/// Longer than any test: what happens without its end has another reason.
pub const NEVER: Duration = Duration::from_secs(600);

/// What most tests go by: no node is taken for dead because the machine stood still for a moment, and no clock is wrong.
pub fn patient() -> MembershipSettings {
    MembershipSettings {
        lease: NEVER,
        max_clock_difference: NEVER * 6,
        join_timeout: SOON,
        leader_timeout: SOON,
        // Few, so that logs are cut and snapshots sent in these tests too.
        snapshot_every: 8,
        ..Default::default()
    }
}

/// The same, for a leader that cannot lose its leadership: it does not let its nodes go.
pub fn steady() -> MembershipSettings {
    MembershipSettings { leader_silence: NEVER, ..patient() }
}

/// A loopback address that no other test uses: who was killed there finds its port free when it starts again, and the port
/// of a dead node is not reused.
fn own_host() -> Ipv4Addr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high.clamp(1, 254), low, LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

pub fn cluster_settings() -> ClusterSettings {
    ClusterSettings { name: "test".into(), history_shards: 12, matching_shards: 4 }
}

/// A voter and its server. They have a tokio runtime of their own, so that nothing of them is left when they are killed.
pub struct RunningVoter {
    pub voter: Option<Voter>,
    pub address: SocketAddr,
    process: Option<tokio::runtime::Runtime>,
}

impl RunningVoter {
    async fn start(settings: VoterSettings, listener: TcpListener) -> Result<Self, StartError> {
        let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let process = process.expect("a runtime");
        let address = listener.local_addr().expect("bound");
        let started = process.spawn(Voter::start(settings, Runtime::system())).await.expect("it does not panic");
        let voter = match started {
            Ok(voter) => voter,
            Err(error) => {
                process.shutdown_background();
                return Err(error);
            }
        };
        let service = voter.service();
        let listener = listener.into_std().expect("it can be moved");
        process.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).expect("it can be moved"));
            drop(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await);
        });
        Ok(Self { voter: Some(voter), address, process: Some(process) })
    }

    fn kill(&mut self) {
        drop(self.voter.take());
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

impl Drop for RunningVoter {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct Cluster {
    pub folder: TempDir,
    pub voters: Vec<RunningVoter>,
    pub settings: ClusterSettings,
    pub timings: MembershipSettings,
    /// For each voter the cable through which the others reach it, if cables were wanted.
    pub cables: Vec<Cable>,
    host: Ipv4Addr,
    advertised: Vec<SocketAddr>,
}

pub fn voter_id(number: usize) -> NodeId {
    NodeId::new(format!("voter-{number}"))
}

async fn listen(host: Ipv4Addr) -> TcpListener {
    TcpListener::bind((host, 0)).await.expect("a free port")
}

impl Cluster {
    pub async fn of(voters: usize) -> Self {
        let timings = if voters == 1 { steady() } else { patient() };
        Self::with(voters, timings, own_host(), false).await
    }

    pub async fn with_timings(voters: usize, timings: MembershipSettings) -> Self {
        Self::with(voters, timings, own_host(), false).await
    }

    /// One voter at an address that has a name.
    pub async fn at_localhost() -> Self {
        Self::with(1, steady(), Ipv4Addr::LOCALHOST, false).await
    }

    /// Voters that advertise cables and reach each other through them. The seeds of members are the voters themselves; a
    /// voter that does not lead sends a member through the leader's cable.
    pub async fn with_cables(voters: usize, timings: MembershipSettings) -> Self {
        Self::with(voters, timings, own_host(), true).await
    }

    async fn with(voters: usize, timings: MembershipSettings, host: Ipv4Addr, cables: bool) -> Self {
        let mut cluster = Self {
            folder: tempfile::tempdir().expect("a folder"),
            voters: Vec::new(),
            settings: cluster_settings(),
            timings,
            cables: Vec::new(),
            host,
            advertised: Vec::new(),
        };
        let mut listeners = Vec::new();
        for _ in 0..voters {
            let listener = listen(host).await;
            let address = listener.local_addr().expect("bound");
            if cables {
                cluster.cables.push(Cable::to(address).await);
            }
            cluster.advertised.push(cluster.cables.last().map_or(address, |cable| cable.address));
            listeners.push(listener);
        }
        for (number, listener) in listeners.into_iter().enumerate() {
            let voter = RunningVoter::start(cluster.voter_settings(number), listener).await;
            cluster.voters.push(voter.unwrap_or_else(|error| panic!("{error}")));
        }
        cluster
    }

    pub fn voter_settings(&self, number: usize) -> VoterSettings {
        let initial = (0..).zip(&self.advertised);
        VoterSettings {
            cluster: self.settings.clone(),
            node: voter_id(number),
            address: self.advertised.get(number).map_or("127.0.0.1:1".to_owned(), ToString::to_string),
            data_dir: self.data_dir(number),
            initial_voters: initial
                .map(|(number, address)| InitialVoter { id: voter_id(number), address: address.to_string() })
                .collect(),
            timings: self.timings.clone(),
        }
    }

    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("voter-{number}"))
    }

    /// A voter that the group does not know: it has to be added.
    pub async fn run_extra_voter(&mut self, number: usize) -> SocketAddr {
        let listener = listen(self.host).await;
        let address = listener.local_addr().expect("bound");
        let settings = VoterSettings { initial_voters: Vec::new(), ..self.voter_settings(number) };
        let voter = RunningVoter::start(settings, listener).await;
        self.voters.push(voter.unwrap_or_else(|error| panic!("{error}")));
        address
    }

    /// As SIGTERM ends it.
    pub async fn stop_voter(&mut self, number: usize) {
        let running = &mut self.voters[number];
        if let (Some(voter), Some(process)) = (running.voter.take(), &running.process) {
            process.spawn(voter.stop()).await.expect("it stops");
        }
        running.kill();
    }

    /// As if its process had died.
    pub fn kill_voter(&mut self, number: usize) {
        self.voters[number].kill();
    }

    /// Starts it again at the same address, from the same folder.
    pub async fn restart_voter(&mut self, number: usize) {
        self.restart_voter_with(number, self.voter_settings(number)).await;
    }

    /// The same, as one that waits to be added.
    pub async fn restart_voter_uninvited(&mut self, number: usize) {
        let settings = VoterSettings { initial_voters: Vec::new(), ..self.voter_settings(number) };
        self.restart_voter_with(number, settings).await;
    }

    async fn restart_voter_with(&mut self, number: usize, settings: VoterSettings) {
        let address = self.voters[number].address;
        let voter = eventually("the port and the folder are free again", || async {
            let listener = TcpListener::bind(address).await.ok()?;
            match RunningVoter::start(settings.clone(), listener).await {
                Ok(voter) => Some(voter),
                Err(StartError::InUse(_)) => None,
                Err(other) => panic!("{other}"),
            }
        });
        self.voters[number] = voter.await;
    }

    pub fn leader_now(&self) -> Option<usize> {
        self.voters.iter().position(|running| running.voter.as_ref().is_some_and(Voter::leads))
    }

    pub async fn leader(&self) -> usize {
        eventually("there is a leader", || async { self.leader_now() }).await
    }

    pub fn seeds(&self) -> Vec<String> {
        self.voters.iter().map(|running| running.address.to_string()).collect()
    }

    pub fn member_settings(&self, id: &str, address: SocketAddr) -> MemberSettings {
        MemberSettings {
            cluster: self.settings.clone(),
            node: NodeId::new(id),
            roles: [Role::History, Role::Matching].into(),
            address: address.to_string(),
            zone: String::new(),
            weight: 100,
            seeds: self.seeds(),
            timings: self.timings.clone(),
        }
    }

    /// Waits until the leader has a session with every member, and these are all.
    pub async fn all_connected(&self, admin: &Admin, members: usize) {
        eventually("all have a session with the leader", || async {
            let nodes = admin.members().await.ok()?.nodes;
            (nodes.len() == members && nodes.iter().all(|node| node.connected)).then_some(())
        })
        .await;
    }

    /// A member that takes part.
    pub async fn member(&self, id: &str) -> RunningMember {
        let member = RunningMember::start(self, id).await.expect("it joins");
        member.member.take_part().await.expect("it takes part");
        member
    }
}

/// A member with the port that it says it serves.
pub struct RunningMember {
    pub member: Arc<Member>,
    pub address: SocketAddr,
    port: Option<TcpListener>,
}

impl RunningMember {
    pub async fn start(cluster: &Cluster, id: &str) -> Result<Self, JoinError> {
        Self::start_at(cluster, id, cluster.seeds()).await
    }

    /// A member that looks for voters only there.
    pub async fn start_at(cluster: &Cluster, id: &str, seeds: Vec<String>) -> Result<Self, JoinError> {
        let port = listen(cluster.host).await;
        let address = port.local_addr().expect("bound");
        let settings = MemberSettings { seeds, ..cluster.member_settings(id, address) };
        let member = Member::join(settings, Runtime::system()).await?;
        Ok(Self { member, address, port: Some(port) })
    }

    pub fn ring(&self) -> Arc<Ring> {
        self.member.ring().borrow().clone()
    }

    pub fn owned(&self, id: &str) -> usize {
        self.ring().owned(Sharded::History, &NodeId::new(id)).len()
    }

    /// The process dies: its port closes and its connections break.
    pub fn kill(&mut self) {
        self.port = None;
        self.member.stop();
    }

    /// The process dies, and the kernel closes its connections a little before its port.
    pub async fn kill_connections_first(&mut self) {
        self.member.stop();
        Runtime::system().sleep(Duration::from_millis(100)).await;
        self.port = None;
    }

    pub async fn sees(&self, what: &str, is: impl Fn(&Ring) -> bool) -> Arc<Ring> {
        let mut rings = self.member.ring();
        let seen = Runtime::system().timeout(SOON, rings.wait_for(|ring| is(ring))).await;
        match seen {
            Some(Ok(ring)) => Arc::clone(&ring),
            _ => panic!("{what}: the ring is {:?}", self.ring()),
        }
    }
}

/// Asks until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let found = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            Runtime::system().sleep(Duration::from_millis(20)).await;
        }
    };
    Runtime::system().timeout(SOON, found).await.unwrap_or_else(|| panic!("never: {what}"))
}
