//! Voters and members over real connections on loopback: what happens when some of them die, freeze, are cut off, come back
//! or do not belong.

#[path = "cluster/cables.rs"]
mod cables;
#[path = "cluster/cluster_in_process.rs"]
mod cluster_in_process;
#[path = "cluster/failing.rs"]
mod failing;
#[path = "cluster/joining.rs"]
mod joining;
#[path = "cluster/voting.rs"]
mod voting;
