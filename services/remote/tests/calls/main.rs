//! Calls between processes, over real sockets on loopback, against fakes that note what they are asked.

mod cluster_of_fakes;
mod every_method;
mod failures;
mod fake;
mod load;
mod mistaken;
mod moves;
mod polls;
mod services;
