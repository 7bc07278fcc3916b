//! Two builds side by side: the same series on each in turn, so that what else the machine does falls on both, and their
//! figures with the ratio between them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::Tuning;
use crate::bench::{ENDLESS, ONE, TEN, find_binary};
use crate::fleet::{Database, Fleet, Plan};
use crate::load::{Load, Pace, Shape};
use crate::report::{Figure, Measured, Probe, measure, number};
use crate::server::Server;
use crate::signals;

#[derive(Args)]
pub struct AgainstArgs {
    /// The server's binary to compare with.
    #[arg(long)]
    base: PathBuf,
    /// The server's binary. By default the `outlast` beside this program.
    #[arg(long, env = "OUTLAST_BIN")]
    server: Option<PathBuf>,
    /// How often each build is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds for each series at saturation, at most.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Workflows open at a time at saturation.
    #[arg(long, default_value_t = 512)]
    concurrency: usize,
    /// On one Cassandra node instead of SQLite.
    #[arg(long)]
    cassandra: bool,
    /// What starts Cassandra.
    #[arg(long, default_value = "deploy/cassandra/cassandra")]
    launcher: PathBuf,
    #[command(flatten)]
    tuning: Tuning,
}

/// A run with as many pending activities as it may have.
const WIDE: Shape = Shape { activities: 2_000, parallel: true };

/// Measures both builds in turn, the base first in even rounds, and prints a table for each series.
pub async fn bench(args: AgainstArgs) -> Result<()> {
    let server = find_binary(args.server.clone())?;
    let base = find_binary(Some(args.base.clone()))?;
    let database = if args.cassandra { Some(Database::start(&args.launcher, "v2", "periodic")?) } else { None };
    let mut rounds: Vec<[Vec<Measured>; 2]> = Vec::new();
    for round in 0..args.rounds.max(1) {
        let mut pair = [Vec::new(), Vec::new()];
        for turn in [round % 2, (round + 1) % 2] {
            let binary = [&base, &server][turn];
            pair[turn] = one_build(&args, binary, database.as_ref(), &format!("against_{round}_{turn}")).await?;
        }
        for (build, series) in ["base", "new"].into_iter().zip(&pair) {
            if let Some(unclean) = series.iter().find(|measured| !measured.clean()) {
                bail!("round {round}, {build}, {}: {}", unclean.title, unclean.what_went_wrong());
            }
        }
        rounds.push(pair);
    }
    print!("{}", report(&rounds));
    Ok(())
}

/// All series on a new server with a new store.
async fn one_build(
    args: &AgainstArgs,
    binary: &std::path::Path,
    database: Option<&Database>,
    keyspace: &str,
) -> Result<Vec<Measured>> {
    let Some(database) = database else {
        let mut server = Server::start(binary, Duration::from_secs(30)).await?;
        let probe =
            Probe { server_pids: vec![server.pid()], metrics: vec![server.metrics.clone()], ..Probe::default() };
        let measured = all_series(args, &server.address, &probe).await;
        server.check()?;
        return measured;
    };
    let plan = Plan { history_processes: 1, history_shards: 4, matching_shards: 2 };
    let mut fleet = Fleet::start(binary, database, &plan, keyspace).await?;
    let probe = Probe { server_pids: fleet.pids(), database_pids: database.pids(), metrics: fleet.metrics.clone() };
    let measured = all_series(args, &fleet.address, &probe).await;
    fleet.check()?;
    measured
}

async fn all_series(args: &AgainstArgs, address: &str, probe: &Probe) -> Result<Vec<Measured>> {
    let load = Load::open(address, "default", args.tuning.clone()).await?;
    let limit = Duration::from_secs(args.seconds.max(1));
    let (alone, full) = (Pace::Closed { concurrency: 1 }, Pace::Closed { concurrency: args.concurrency });
    // Connections, code and caches are warm before anything counts.
    load.run(ONE, Pace::Closed { concurrency: 8 }, 100, limit).await?;
    let mut measured = vec![
        measure(&load, probe, ONE, alone, 300, limit).await?,
        measure(&load, probe, ONE, full, ENDLESS, limit).await?,
        measure(&load, probe, TEN, full, ENDLESS, limit).await?,
        measure(&load, probe, WIDE, alone, 1, limit).await?,
    ];
    load.close();
    measured.extend(signals::series(address, probe, "signalled").await.context("signals")?);
    Ok(measured)
}

/// A table for each series. A figure is the median over the rounds; so is the ratio, of those within each round.
fn report(rounds: &[[Vec<Measured>; 2]]) -> String {
    let mut text = String::new();
    let series = rounds.first().map_or(0, |pair| pair[0].len());
    for index in 0..series {
        let pairs: Vec<[Vec<Figure>; 2]> =
            rounds.iter().map(|[base, new]| [base[index].figures(), new[index].figures()]).collect();
        text += &format!("{}\n\n", rounds[0][0][index].title);
        text += "| | base | new | new / base | least | most |\n| --- | ---: | ---: | ---: | ---: | ---: |\n";
        for figure in 0..pairs[0][0].len() {
            text += &line(&pairs, figure);
        }
        text += "\n";
    }
    text
}

fn line(pairs: &[[Vec<Figure>; 2]], figure: usize) -> String {
    let Figure { title, digits, .. } = &pairs[0][0][figure];
    let values = |build: usize| pairs.iter().filter_map(|pair| pair[build][figure].value).collect::<Vec<f64>>();
    let (base, new) = (values(0), values(1));
    if base.iter().chain(&new).all(|value| *value == 0.0) {
        return String::new();
    }
    let mut ratios: Vec<f64> = base.iter().zip(&new).map(|(base, new)| new / base).collect();
    ratios.sort_by(f64::total_cmp);
    let cells = [
        number(median(base), *digits),
        number(median(new), *digits),
        number(median(ratios.clone()), 2),
        number(ratios.first().copied(), 2),
        number(ratios.last().copied(), 2),
    ];
    format!("| {title} | {} |\n", cells.join(" | "))
}

/// The middle one, the lower of two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_and_the_lower_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(1.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let figure = |value| vec![Figure { title: "CPU".to_owned(), value: Some(value), digits: 1 }];
        let pairs = [[figure(1.0), figure(2.0)], [figure(10.0), figure(15.0)], [figure(4.0), figure(4.0)]];
        assert_eq!(line(&pairs, 0), "| CPU | 4.0 | 4.0 | 1.50 | 1.00 | 2.00 |\n");
    }
}
