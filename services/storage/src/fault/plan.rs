//! What shall go wrong, and how often.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::PartitionKey;

/// The methods that can fail, named like those of the ports.
#[allow(missing_docs, reason = "the ports document them")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    Open,
    Reopen,
    Append,
    Epoch,
    SetWatermark,
    Trim,
    Write,
    Get,
    Scan,
    DropPartition,
    RegistryGet,
    RegistryList,
    CompareAndSet,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Open,
        Self::Reopen,
        Self::Append,
        Self::Epoch,
        Self::SetWatermark,
        Self::Trim,
        Self::Write,
        Self::Get,
        Self::Scan,
        Self::DropPartition,
        Self::RegistryGet,
        Self::RegistryList,
        Self::CompareAndSet,
    ];
}

/// What befalls one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it is passed on.
    Passes,
    /// It fails and nothing happens. An append, trim, watermark, reopen or compare-and-set answers `Unknown`, as a real
    /// store does when it does not know; the others answer `Unavailable`.
    Fails,
    /// It happens and then fails with `Unknown`. A table write happens wholly or for some of its partitions; a read, which
    /// has no effect, answers `Unavailable`.
    FailsAfterEffect,
}

/// How often a method goes wrong. Rates lie between 0 (never) and 1 (always); the two kinds of failure exclude each
/// other, a stall may come on top of either.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How often a call fails without effect.
    pub fail: f64,
    /// How often a call takes effect and fails.
    pub fail_after_effect: f64,
    /// How often a call is delayed before it starts.
    pub stall: f64,
    /// For how long it is then delayed.
    pub stall_for: Duration,
}

/// The faults of every method and partition, and the seed from which they are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan {
    pub(super) seed: u64,
    pub(super) everywhere: Faults,
    pub(super) by_method: BTreeMap<Method, Faults>,
    pub(super) by_partition: BTreeMap<PartitionKey, Faults>,
    pub(super) hides_local_epoch: bool,
}

impl FaultPlan {
    /// No faults, until they are added.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let everywhere = Faults::default();
        Self { seed, everywhere, by_method: BTreeMap::new(), by_partition: BTreeMap::new(), hides_local_epoch: false }
    }

    /// The faults of all methods that have none of their own.
    #[must_use]
    pub fn everywhere(mut self, faults: Faults) -> Self {
        self.everywhere = faults;
        self
    }

    /// The faults of one method, in place of those from [`everywhere`](Self::everywhere).
    #[must_use]
    pub fn on(mut self, method: Method, faults: Faults) -> Self {
        self.by_method.insert(method, faults);
        self
    }

    /// The faults of table calls that touch this partition, in place of those of their methods: too many of its replicas may
    /// be away while those of others are not.
    #[must_use]
    pub fn on_partition(mut self, partition: PartitionKey, faults: Faults) -> Self {
        self.by_partition.insert(partition, faults);
        self
    }

    /// Makes `epoch_if_local` answer `None`, as a shared store does, so that fence checks go through `epoch` and meet its
    /// faults.
    #[must_use]
    pub fn hiding_local_epoch(mut self) -> Self {
        self.hides_local_epoch = true;
        self
    }

    pub(super) fn faults_of(&self, method: Method) -> Faults {
        self.by_method.get(&method).copied().unwrap_or(self.everywhere)
    }

    /// The faults of a call that touches these partitions.
    pub(super) fn faults_at<'a>(
        &self,
        method: Method,
        mut partitions: impl Iterator<Item = &'a PartitionKey>,
    ) -> Faults {
        let faults = partitions.find_map(|partition| self.by_partition.get(partition)).copied();
        faults.unwrap_or_else(|| self.faults_of(method))
    }
}
