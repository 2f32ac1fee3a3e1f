//! What many runs prove together: a long one does not fit one sitting.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};

use serde::de::DeserializeOwned;

use crate::damage;
use crate::report::{percentiles, words};
use crate::run::{Outcome, Verdict};

/// Adds up the outcomes of all runs below a directory, as Markdown. Whether one of them failed.
///
/// Errors: there is none, or one cannot be read.
pub fn sum(dir: &Path) -> anyhow::Result<(String, bool)> {
    let mut outcomes: Vec<Outcome> = read_all(dir, "outcome.json")?;
    let damages: Vec<damage::Outcome> = read_all(dir, "damage.json")?;
    ensure!(!outcomes.is_empty() || !damages.is_empty(), "no run has ended below {}", dir.display());
    outcomes.sort_by_key(|outcome| (outcome.mix.clone(), outcome.seed));
    let mut text = String::new();
    if !outcomes.is_empty() {
        text += &told(&outcomes);
    }
    if !damages.is_empty() {
        let violations: usize = damages.iter().map(|outcome| outcome.violation_count).sum();
        let runs = damages.len();
        let _ = writeln!(text, "\nDamage of files, in {runs} runs: {violations} violations.\n");
        text += &damage::table(damages.iter().flat_map(|outcome| &outcome.made));
    }
    let failed = outcomes.iter().any(|outcome| outcome.verdict == Verdict::Failed)
        || damages.iter().any(|outcome| outcome.violation_count > 0);
    Ok((text, failed))
}

/// Those of all runs below a directory.
fn read_all<T: DeserializeOwned>(dir: &Path, name: &str) -> anyhow::Result<Vec<T>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path().join(name);
        if path.exists() {
            let told = serde_json::from_slice(&std::fs::read(&path)?);
            found.push(told.with_context(|| format!("{} is no outcome", path.display()))?);
        }
    }
    Ok(found)
}

fn told(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| mix | seed | verdict | minutes | acknowledged | a second | of unknown outcome | faults | proved | violations |\n\
         |---|---:|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let (mut seconds, mut acked) = (0.0, 0);
    let mut kinds: BTreeMap<&str, (usize, Vec<u64>)> = BTreeMap::new();
    let mut failovers = Vec::new();
    // What an invalid run says counts for nothing, but for what it violates.
    let valid = |outcome: &&Outcome| outcome.verdict != Verdict::Invalid;
    for outcome in outcomes {
        let Outcome { mix, seed, summary, faults, .. } = outcome;
        let unknown = summary.unknown_stored + summary.unknown_lost;
        let proved = faults.iter().filter(|fault| fault.proof.is_ok()).count();
        let _ = writeln!(
            text,
            "| {mix} | {seed} | {} | {:.1} | {} | {:.0} | {unknown} | {} | {proved} | {} |",
            words(outcome.verdict),
            outcome.seconds / 60.0,
            summary.acked,
            summary.acked as f64 / outcome.seconds.max(1.0),
            faults.len(),
            outcome.violation_count,
        );
    }
    for outcome in outcomes.iter().filter(valid) {
        seconds += outcome.seconds;
        acked += outcome.summary.acked;
        failovers.extend(outcome.failovers.iter().map(|(_, millis)| *millis));
        for fault in outcome.faults.iter().filter(|fault| fault.proof.is_ok()) {
            let (proved, pauses) = kinds.entry(&fault.what).or_default();
            *proved += 1;
            pauses.push(fault.longest_pause / 1000);
        }
    }
    let proved: usize = kinds.values().map(|(proved, _)| proved).sum();
    let cuts: usize =
        kinds.iter().filter(|(what, _)| what.contains("power cut")).map(|(_, (proved, _))| proved).sum();
    let _ = writeln!(
        text,
        "\nIn all valid runs {:.1} hours, {acked} messages acknowledged, {proved} faults proved, {cuts} of them power cuts.",
        seconds / 3600.0
    );
    if let Some([p50, p99, max]) = percentiles(&mut failovers) {
        let n = failovers.len();
        let _ = writeln!(
            text,
            "The leader was taken away {n} times: to the first acknowledged send p50 {p50} ms, p99 {p99} ms, max {max} ms."
        );
    }
    let _ =
        writeln!(text, "\n| fault | proved | no send for ms, p50 | p99 | max |\n|---|---:|---:|---:|---:|");
    for (kind, (proved, mut pauses)) in kinds {
        if let Some([p50, p99, max]) = percentiles(&mut pauses) {
            let _ = writeln!(text, "| {kind} | {proved} | {p50} | {p99} | {max} |");
        }
    }
    text
}
