//! A small but real kind: an account with a journal, alarms and payments that it owes.
//!
//! The account is one row; each journal entry is a row of its own, which leaves memory once it is written and is asked for
//! again when it is to be read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use entities::{Corrupt, EntityKey, Env, Kind, OwedChanges, Refusal, Release, RowAddress, Touch, Transition};
use ids::{KindId, Timestamp};
use prost::Message;
use storage::{PartitionKey, RowKey};

pub struct Ledger;

pub enum Input {
    /// Adds to the balance, once per request.
    Deposit {
        request: u64,
        amount: i64,
    },
    /// The same, answered before it is durable.
    DepositLazily {
        request: u64,
        amount: i64,
    },
    /// Always refused.
    Overdraw,
    Read,
    /// The amount of the n-th deposit, which may have to be fetched.
    ReadEntry(u64),
    SetAlarm {
        name: u64,
        at: Timestamp,
    },
    /// Owes a payment to the outside.
    Owe(u64),
    /// The answer to a payment that was made.
    Paid(u64),
    /// The answer to one that was not.
    NotPaid,
    /// The shard says that the time has come.
    TimeHasCome,
    /// A change that cannot be applied when it is read again.
    Poison,
    Panic,
}

#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub balance: i64,
    pub deposits: u64,
    pub requests: BTreeSet<u64>,
    /// When each alarm was due, and when it rang.
    pub rang: BTreeMap<u64, Vec<(Timestamp, Timestamp)>>,
    pub alarms: BTreeMap<u64, Timestamp>,
    pub owed: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Done { repeated: bool },
    View(View),
    Entry(Option<i64>),
}

impl Reply {
    pub fn view(self) -> View {
        match self {
            Self::View(view) => view,
            other => panic!("not a view: {other:?}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdrawn(pub i64);

#[derive(Clone, PartialEq, Message)]
pub struct Change {
    #[prost(oneof = "Fact", tags = "1, 2, 3, 4, 5, 6")]
    pub fact: Option<Fact>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Fact {
    #[prost(message, tag = "1")]
    Deposited(Deposit),
    #[prost(message, tag = "2")]
    AlarmSet(Pair),
    #[prost(message, tag = "3")]
    AlarmRang(Pair),
    #[prost(uint64, tag = "4")]
    Owed(u64),
    #[prost(uint64, tag = "5")]
    Paid(u64),
    #[prost(uint64, tag = "6")]
    Poison(u64),
}

#[derive(Clone, PartialEq, Message)]
pub struct Pair {
    #[prost(uint64, tag = "1")]
    pub name: u64,
    #[prost(int64, tag = "2")]
    pub value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Deposit {
    #[prost(uint64, tag = "1")]
    pub request: u64,
    #[prost(int64, tag = "2")]
    pub amount: i64,
    /// Which of all deposits.
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

/// The account, and each entry of its journal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    Account,
    Entry(u64),
}

/// The account's row.
#[derive(Clone, PartialEq, Message)]
struct Account {
    #[prost(int64, tag = "1")]
    balance: i64,
    #[prost(uint64, tag = "2")]
    deposits: u64,
    #[prost(uint64, repeated, tag = "3")]
    requests: Vec<u64>,
    #[prost(btree_map = "uint64, int64", tag = "4")]
    alarms: BTreeMap<u64, i64>,
    #[prost(message, repeated, tag = "5")]
    rang: Vec<Rang>,
    #[prost(uint64, repeated, tag = "6")]
    owed: Vec<u64>,
    /// The entries that were in memory when it was written. Of no use, but so it is with real kinds: what is written depends
    /// on more than on the changes.
    #[prost(uint64, repeated, tag = "7")]
    in_memory: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Rang {
    #[prost(uint64, tag = "1")]
    name: u64,
    #[prost(int64, tag = "2")]
    due: i64,
    #[prost(int64, tag = "3")]
    at: i64,
}

pub struct State {
    account: Account,
    requests: BTreeSet<u64>,
    /// Entries in memory: all that are not written, and those that were asked for.
    journal: BTreeMap<u64, i64>,
}

pub fn partition(key: &EntityKey) -> PartitionKey {
    Bytes::from(format!("ledger/{}\0{}", key.namespace, key.id))
}

pub fn account_row() -> RowKey {
    Bytes::from_static(b"account")
}

fn entry_row(number: u64) -> RowKey {
    Bytes::from(format!("entry/{number:020}"))
}

fn nanos(at: Timestamp) -> i64 {
    at.nanos()
}

impl State {
    fn view(&self) -> View {
        let mut rang: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for alarm in &self.account.rang {
            let times = (Timestamp::from_nanos(alarm.due), Timestamp::from_nanos(alarm.at));
            rang.entry(alarm.name).or_default().push(times);
        }
        View {
            balance: self.account.balance,
            deposits: self.account.deposits,
            requests: self.requests.clone(),
            rang,
            alarms: self.account.alarms.iter().map(|(name, at)| (*name, Timestamp::from_nanos(*at))).collect(),
            owed: self.account.owed.iter().copied().collect(),
        }
    }

    fn apply_fact(&mut self, fact: &Fact) -> Result<(), Corrupt> {
        let account = &mut self.account;
        match fact {
            Fact::Deposited(Deposit { request, amount, number }) => {
                if !self.requests.insert(*request) {
                    return Err(Corrupt(format!("request {request} applied twice")));
                }
                account.requests.push(*request);
                account.balance += amount;
                self.journal.insert(*number, *amount);
                account.deposits += 1;
            }
            Fact::AlarmSet(Pair { name, value }) => {
                account.alarms.insert(*name, *value);
            }
            Fact::AlarmRang(Pair { name, value }) => {
                let due = account.alarms.remove(name).ok_or_else(|| Corrupt(format!("alarm {name} is not set")))?;
                account.rang.push(Rang { name: *name, due, at: *value });
            }
            Fact::Owed(name) => account.owed.push(*name),
            Fact::Paid(name) => account.owed.retain(|owed| owed != name),
            Fact::Poison(_) => {}
        }
        Ok(())
    }
}

/// Each once, though it may have been promised twice.
fn owed_by(state: &State) -> Vec<u64> {
    state.account.owed.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

impl Kind for Ledger {
    type State = State;
    type Part = Part;
    type Input = Input;
    type Change = Change;
    type Reply = Reply;
    type Rejection = Overdrawn;
    type Obligation = u64;
    type ObligationId = u64;

    const ID: KindId = KindId::of_test(0);

    fn entity_partitions(&self) -> &'static [u8] {
        b"ledger/"
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        EntityKey::of_name::<Self>(partition.strip_prefix(b"ledger/")?)
    }

    fn vacant(&self, _: &EntityKey) -> State {
        State { account: Account::default(), requests: BTreeSet::new(), journal: BTreeMap::new() }
    }

    fn step(
        &self,
        _: &EntityKey,
        state: &mut State,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        let before = owed_by(state);
        let mut release = Release::Durable;
        let mut reply = Reply::Done { repeated: false };
        let facts: Vec<Fact> = match input {
            Input::Deposit { request, amount } | Input::DepositLazily { request, amount }
                if !state.requests.contains(&request) =>
            {
                if matches!(input, Input::DepositLazily { .. }) {
                    release = Release::Lazy;
                }
                vec![Fact::Deposited(Deposit { request, amount, number: state.account.deposits })]
            }
            Input::Deposit { .. } | Input::DepositLazily { .. } => {
                reply = Reply::Done { repeated: true };
                vec![]
            }
            Input::Overdraw => return Err(Refusal::Rejected(Overdrawn(state.account.balance))),
            Input::Read => {
                reply = Reply::View(state.view());
                vec![]
            }
            Input::ReadEntry(number) => {
                let entry = state.journal.get(&number).copied();
                if entry.is_none() && number < state.account.deposits {
                    return Err(Refusal::Needs(vec![Part::Entry(number)], input));
                }
                reply = Reply::Entry(entry);
                vec![]
            }
            Input::SetAlarm { name, at } => vec![Fact::AlarmSet(Pair { name, value: nanos(at) })],
            Input::Owe(name) => vec![Fact::Owed(name)],
            Input::Paid(name) if state.account.owed.contains(&name) => vec![Fact::Paid(name)],
            Input::Paid(_) | Input::NotPaid => vec![],
            Input::TimeHasCome => {
                let due = state.account.alarms.iter().filter(|(_, at)| **at <= nanos(env.now));
                due.map(|(name, _)| Fact::AlarmRang(Pair { name: *name, value: nanos(env.now) })).collect()
            }
            Input::Poison => vec![Fact::Poison(0)],
            Input::Panic => panic!("as asked"),
        };
        for fact in &facts {
            state.apply_fact(fact).expect("what was just decided applies");
        }
        let changes = facts.into_iter().map(|fact| Change { fact: Some(fact) }).collect();
        let owed = OwedChanges::between(before, owed_by(state));
        Ok(Transition { changes, is_volatile: false, reply, release, owed })
    }

    fn apply(
        &self,
        _: &EntityKey,
        state: &mut State,
        change: &Change,
        is_behind: &dyn Fn(&Part) -> bool,
    ) -> Result<(), Corrupt> {
        match &change.fact {
            Some(Fact::Poison(_)) => Err(Corrupt("poison".to_owned())),
            Some(fact) if is_behind(&Part::Account) => state.apply_fact(fact),
            Some(Fact::Deposited(Deposit { amount, number, .. })) => {
                state.journal.insert(*number, *amount);
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(Corrupt("no fact".to_owned())),
        }
    }

    fn encode_change(&self, change: &Change) -> Bytes {
        Bytes::from(change.encode_to_vec())
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Change, Corrupt> {
        Change::decode(bytes).map_err(|error| Corrupt(error.to_string()))
    }

    fn obligations(&self, _: &EntityKey, state: &State) -> Vec<u64> {
        owed_by(state)
    }

    fn obligation(&self, _: &EntityKey, state: &State, name: &u64) -> Option<u64> {
        state.account.owed.contains(name).then_some(*name)
    }

    fn next_wake_up(&self, state: &State) -> Option<Timestamp> {
        state.account.alarms.values().min().map(|at| Timestamp::from_nanos(*at))
    }

    fn wake_up(&self) -> Input {
        Input::TimeHasCome
    }

    fn root(&self) -> Part {
        Part::Account
    }

    fn address(&self, key: &EntityKey, part: &Part) -> RowAddress {
        let row = match part {
            Part::Account => account_row(),
            Part::Entry(number) => entry_row(*number),
        };
        RowAddress { partition: partition(key), key: row }
    }

    fn encode_part(&self, state: &State, part: &Part) -> Vec<(RowKey, Bytes)> {
        match part {
            Part::Account => {
                let account = Account { in_memory: state.journal.keys().copied().collect(), ..state.account.clone() };
                vec![(account_row(), Bytes::from(account.encode_to_vec()))]
            }
            Part::Entry(number) => {
                let entry = Pair { name: *number, value: state.journal[number] };
                vec![(entry_row(*number), Bytes::from(entry.encode_to_vec()))]
            }
        }
    }

    fn decode_part(&self, _: &EntityKey, state: &mut State, part: &Part, row: Option<Bytes>) -> Result<(), Corrupt> {
        let Some(row) = row else {
            return if *part == Part::Account { Ok(()) } else { Err(Corrupt(format!("no row of {part:?}"))) };
        };
        if *part == Part::Account {
            state.account = Account::decode(row).map_err(|error| Corrupt(error.to_string()))?;
            state.requests = state.account.requests.iter().copied().collect();
        } else {
            let pair = Pair::decode(row).map_err(|error| Corrupt(error.to_string()))?;
            state.journal.insert(pair.name, pair.value);
        }
        Ok(())
    }

    fn parts_of(&self, change: &Change) -> Vec<Touch<Part>> {
        let entry = match &change.fact {
            Some(Fact::Deposited(deposit)) => Some(Touch::Begins(Part::Entry(deposit.number))),
            _ => None,
        };
        entry.into_iter().chain([Touch::Changes(Part::Account)]).collect()
    }

    fn leave_to_rows(&self, state: &mut State, is_safe: &dyn Fn(&Part) -> bool) {
        state.journal.retain(|number, _| !is_safe(&Part::Entry(*number)));
    }

    fn weight(&self, state: &State) -> usize {
        200 + state.journal.len() * 32 + state.requests.len() * 16
    }

    /// An account that was used and is empty.
    fn is_at_rest(&self, state: &State) -> bool {
        state.account.balance == 0 && state.account.deposits > 0
    }
}
