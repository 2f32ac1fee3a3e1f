//! What a run leaves behind: the report, the picture, and the raw history.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::chart;
use crate::history::{Attempt, Epoch, Outcome as Sent};
use crate::run::{Outcome, Plan, Verdict};

/// Writes `report.md`, `timeline.svg`, `outcome.json` and `history.csv.gz`.
pub fn write(plan: &Plan, outcome: &Outcome, attempts: &[Attempt], epoch: Epoch) -> anyhow::Result<()> {
    let dir = &plan.dir;
    let title = format!("seed {}, mix {}: {}", plan.seed, plan.mix, words(outcome.verdict));
    let ended = (outcome.seconds * 1e6) as u64;
    fs::write(dir.join("timeline.svg"), chart::draw(&title, attempts, epoch, &outcome.faults, ended))?;
    fs::write(dir.join("outcome.json"), serde_json::to_vec_pretty(outcome)?)?;
    fs::write(dir.join("report.md"), report(plan, outcome))?;
    history(BufWriter::new(File::create(dir.join("history.csv.gz"))?), attempts, epoch)
}

/// Each request in a line: its first message and how many, microseconds, and where the first was acknowledged.
fn history(file: impl std::io::Write, attempts: &[Attempt], epoch: Epoch) -> anyhow::Result<()> {
    let mut lines = GzEncoder::new(file, Compression::fast());
    writeln!(
        lines,
        "client,seq,messages,single,started,ended,outcome,queue,offset,physical_offset,stored_by"
    )?;
    for Attempt { id, is_single, messages, started, ended, outcome } in attempts {
        let (client, seq, single) = (id.client, id.seq, u8::from(*is_single));
        let (started, ended) = (epoch.of(*started), epoch.of(*ended));
        write!(lines, "{client},{seq},{messages},{single},{started},{ended},")?;
        match outcome {
            Sent::Acked(place) => {
                let (queue, offset, physical) = (place.queue.queue_id, place.offset, place.physical_offset);
                writeln!(lines, "ok,{queue},{offset},{physical},{}", place.stored_by)?;
            }
            Sent::Unknown => writeln!(lines, "unknown,,,,")?,
            Sent::Refused => writeln!(lines, "fail,,,,")?,
        }
    }
    lines.finish()?.flush()?;
    Ok(())
}

/// A verdict in a word.
pub fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "FAILED",
        Verdict::Invalid => "invalid",
    }
}

fn report(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    let Outcome { seed, mix, summary, seconds, .. } = outcome;
    let proved = outcome.faults.iter().filter(|fault| fault.proof.is_ok()).count();
    let _ = writeln!(text, "# Seed {seed}, mix {mix}: {}\n", words(outcome.verdict));
    let (minutes, rate) = (plan.lasts.as_secs_f64() / 60.0, plan.rate);
    let only = if plan.only.is_empty() { String::new() } else { format!(" --only '{}'", plan.only) };
    let _ = writeln!(
        text,
        "```sh\ntrireme chaos --seed {seed} --mix {mix}{only} --minutes {minutes} --rate {rate}\n```\n"
    );
    let _ = writeln!(text, "- {:.0} s of load; {summary}", seconds);
    let rate = summary.acked as f64 / seconds.max(1.0);
    let _ = writeln!(text, "- {rate:.0} messages a second on average, faults included");
    let _ = writeln!(text, "- {} faults, {proved} of them proved", outcome.faults.len());
    for skipped in &outcome.skipped {
        let _ = writeln!(text, "- skipped, since it cannot be done here: {skipped}");
    }
    let _ = writeln!(
        text,
        "- {} entries; {} MiB of the log were trimmed, {} filled segments are left",
        outcome.entries,
        outcome.trimmed_bytes >> 20,
        outcome.segments
    );
    let (probes, positions) = (outcome.probes, outcome.positions);
    let _ = writeln!(text, "- ends of queues told {probes} times, positions of the group {positions} times");
    let (replays, members) = outcome.ordered;
    let _ = writeln!(
        text,
        "- consumed in order by {members} members that came and went; {replays} messages given again"
    );
    let _ =
        writeln!(text, "- {} messages given back until they were consumed, or dead letters", outcome.retried);
    let _ = writeln!(text, "- configuration of topics changed or read {} times", outcome.metadata);
    let (delayed, latest) = (outcome.delayed, outcome.latest_ms);
    if delayed > 0 {
        let _ =
            writeln!(text, "- {delayed} delayed messages delivered, the latest {latest} ms after its time");
    }
    let mut failovers: Vec<u64> = outcome.failovers.iter().map(|(_, millis)| *millis).collect();
    if let Some([p50, p99, max]) = percentiles(&mut failovers) {
        let n = outcome.failovers.len();
        let _ = writeln!(
            text,
            "- the leader taken away {n} times: to the first acknowledged send p50 {p50} ms, p99 {p99} ms, max {max} ms"
        );
    }
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        let _ = writeln!(text, "- load average at the end {}", load.trim());
    }
    let _ = writeln!(text, "\n![timeline](timeline.svg)");
    for invalid in &outcome.invalid {
        let _ = writeln!(text, "\nInvalid: {invalid}");
    }
    if outcome.violation_count > 0 {
        let _ = writeln!(text, "\n## {} violations\n", outcome.violation_count);
        for violation in &outcome.violations {
            let _ = writeln!(text, "- {violation}");
        }
    }
    let _ = writeln!(
        text,
        "\n## Faults\n\n| fault | times | proved | no send for ms, p50 | max |\n|---|---:|---:|---:|---:|"
    );
    let mut kinds: BTreeMap<&str, (usize, Vec<u64>)> = BTreeMap::new();
    for fault in &outcome.faults {
        let (proved, pauses) = kinds.entry(&fault.what).or_default();
        *proved += usize::from(fault.proof.is_ok());
        pauses.push(fault.longest_pause / 1000);
    }
    for (kind, (proved, mut pauses)) in kinds {
        let Some([p50, _, max]) = percentiles(&mut pauses) else { continue };
        let _ = writeln!(text, "| {kind} | {} | {proved} | {p50} | {max} |", pauses.len());
    }
    let _ = writeln!(
        text,
        "\n| | fault | replicas | leader | at s | lasted ms | whole again after ms | no send for ms | proof |\n|---:|---|---|---:|---:|---:|---:|---:|---|"
    );
    for (number, fault) in (1..).zip(&outcome.faults) {
        let at = fault.struck as f64 / 1e6;
        let lasted = (fault.healed - fault.struck) / 1000;
        let whole = fault.recovered.map_or("-".into(), |at| ((at - fault.healed) / 1000).to_string());
        let pause = fault.longest_pause / 1000;
        let proof = fault.proof.as_ref().map_or_else(|bad| format!("NOT PROVED: {bad}"), Clone::clone);
        let (what, victims, leader) = (&fault.what, &fault.victims, fault.leader);
        let _ = writeln!(
            text,
            "| {number} | {what} | {victims:?} | {leader} | {at:.1} | {lasted} | {whole} | {pause} | {proof} |"
        );
    }
    text
}

/// p50, p99 and the longest.
pub fn percentiles(millis: &mut [u64]) -> Option<[u64; 3]> {
    millis.sort_unstable();
    let at = |percent: usize| millis.get((millis.len() * percent / 100).min(millis.len() - 1)).copied();
    if millis.is_empty() { None } else { Some([at(50)?, at(99)?, *millis.last()?]) }
}
