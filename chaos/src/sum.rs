//! What many runs prove together: a long one does not fit one sitting.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::report::{percentiles, words};
use crate::run::{Outcome, Verdict};

/// Adds up the outcomes of all runs below a directory, as Markdown. Whether one of them failed.
///
/// Errors: there is none, or one cannot be read.
pub fn sum(dir: &Path) -> anyhow::Result<(String, bool)> {
    let mut outcomes = Vec::new();
    for path in outcomes_below(dir)? {
        let bytes = std::fs::read(&path)?;
        let outcome: Outcome =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is no outcome", path.display()))?;
        outcomes.push(outcome);
    }
    ensure!(!outcomes.is_empty(), "there is no outcome.json below {}", dir.display());
    outcomes.sort_by_key(|outcome| (outcome.mix.clone(), outcome.seed));
    Ok((told(&outcomes), outcomes.iter().any(|outcome| outcome.verdict == Verdict::Failed)))
}

fn outcomes_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path().join("outcome.json");
        if path.exists() {
            found.push(path);
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
