//! What else the machine was busy with while something was measured.
//!
//! The load average would not do: it counts this very bench, and what was built just before it.

use std::{collections::BTreeMap, fs, time::Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figures::{as_float, median, rounded, shown};

/// Others may use this much before a measurement counts as disturbed. Unit: cores.
const TOLERATED: f64 = 0.1;

/// The part of all measurements that may be disturbed before the figures are in doubt.
const DISTURBED_PART: f64 = 0.2;

/// CPU time spent so far, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbours {
    /// By the whole machine.
    busy: u64,
    /// By this process and all that it started.
    ours: u64,
    looked: Instant,
}

impl Neighbours {
    /// Looks at all processes.
    pub(crate) fn look() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let busy = busy(&stat).context("/proc/stat has no line for the CPU")?;
        Ok(Self { busy, ours: spent_by_family(std::process::id())?, looked: Instant::now() })
    }

    /// The cores that others kept busy since then.
    pub(crate) fn since(self) -> Result<f64> {
        let now = Self::look()?;
        let others = (now.busy - self.busy).saturating_sub(now.ours.saturating_sub(self.ours));
        let ticks = rustix::param::clock_ticks_per_second();
        Ok(as_float(others) / as_float(ticks) / (now.looked - self.looked).as_secs_f64())
    }
}

/// Busy time in `/proc/stat`: user, nice, system, irq, softirq and what the hypervisor took.
fn busy(stat: &str) -> Option<u64> {
    let times: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|t| t.parse().ok()).collect();
    Some([0, 1, 2, 5, 6, 7].into_iter().filter_map(|index| times.get(index)).sum())
}

/// CPU time of a process and all its living descendants, and of the children that each waited for.
fn spent_by_family(head: u32) -> Result<u64> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(number) = number else { continue };
        // A process may end while it is looked at.
        let stat = fs::read_to_string(entry.path().join("stat")).ok();
        if let Some(known) = stat.as_deref().and_then(parent_and_time) {
            processes.insert(number, known);
        }
    }
    Ok(of_family(head, &processes))
}

fn of_family(head: u32, processes: &BTreeMap<u32, (u32, u64)>) -> u64 {
    let (mut sum, mut open) = (0, vec![head]);
    while let Some(member) = open.pop() {
        sum += processes.get(&member).map_or(0, |(_, time)| *time);
        let children = processes.iter().filter(|(_, (parent, _))| *parent == member);
        open.extend(children.map(|(number, _)| *number));
    }
    sum
}

/// Of a `/proc/PID/stat`: the parent, and utime + stime + cutime + cstime.
fn parent_and_time(stat: &str) -> Option<(u32, u64)> {
    // The name, in parentheses, may hold anything; what follows begins with the state, field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let times = fields.get(11..15)?.iter().map(|time| time.parse::<u64>().ok());
    Some((fields.get(1)?.parse().ok()?, times.sum::<Option<u64>>()?))
}

/// How quiet it was over many measurements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quiet(Vec<f64>);

impl Quiet {
    /// From the cores of others during each measurement.
    pub(crate) fn of(others: impl Iterator<Item = f64>) -> Self {
        Self(others.collect())
    }

    fn disturbed(&self) -> usize {
        self.0.iter().filter(|others| **others > TOLERATED).count()
    }

    fn typical(&self) -> f64 {
        median(self.0.iter().copied())
    }

    /// A warning, if others were at work.
    pub(crate) fn doubt(&self) -> Option<String> {
        let (disturbed, all) = (self.disturbed() as u64, self.0.len() as u64);
        (as_float(disturbed) > DISTURBED_PART * as_float(all)).then(|| {
            let typical = shown(self.typical());
            format!(
                "other processes used more than {TOLERATED} of a core during {disturbed} of {all} measurements (median {typical})"
            )
        })
    }

    /// In a line, for people.
    pub(crate) fn line(&self) -> String {
        let (disturbed, all) = (self.disturbed(), self.0.len());
        format!(
            "other processes used {:.2} of a core (median); more than {TOLERATED} during {disturbed} of {all} measurements",
            self.typical()
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "median_cores": rounded(self.typical()),
            "tolerated_cores": TOLERATED,
            "measurements": self.0.len(),
            "disturbed": self.disturbed(),
            "doubtful": self.doubt().is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  1 2 4 1000 1000 8 16 32 500 500\ncpu0 7 7 7 7\n";
        assert_eq!(busy(stat), Some(1 + 2 + 4 + 8 + 16 + 32));
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "12 (a) b) (c) S 7 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6";
        assert_eq!(parent_and_time(stat), Some((7, 127)));
    }

    #[test]
    fn a_family_is_the_head_and_all_below_it() {
        let processes =
            BTreeMap::from([(1, (0, 1000)), (5, (1, 1)), (6, (5, 2)), (7, (6, 4)), (8, (1, 500))]);
        assert_eq!(of_family(5, &processes), 7);
    }

    #[test]
    fn our_own_work_is_nobody_elses() {
        let (before, began) = (spent_by_family(std::process::id()).unwrap(), Instant::now());
        while spent_by_family(std::process::id()).unwrap() == before {
            assert!(began.elapsed().as_secs() < 60, "a busy process shows no CPU time");
        }
    }

    #[test]
    fn doubt_begins_with_a_fifth_of_all_measurements() {
        let of = |disturbed: usize| {
            Quiet::of((0..10).map(move |index| if index < disturbed { 0.5 } else { 0.01 }))
        };
        assert!(of(2).doubt().is_none());
        assert!(of(3).doubt().unwrap().contains("3 of 10"));
    }
}
