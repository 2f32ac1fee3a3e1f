//! The one binary `trireme`.
fn main() -> anyhow::Result<()> {
    anyhow::bail!("no subcommand is built yet")
}
