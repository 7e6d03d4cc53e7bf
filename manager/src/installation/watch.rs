/// Who is told how far it is.
pub trait Watch: Send + Sync {
    /// What is done from now on, and how many bytes it will be (0: unknown).
    fn begin(&self, what: &str, bytes: u64);
    /// Bytes done of what was begun last.
    fn done(&self, bytes: u64);
    /// It should end; asked often.
    fn is_cancelled(&self) -> bool;
}

/// Nobody is told.
pub struct Silent;

impl Watch for Silent {
    fn begin(&self, _: &str, _: u64) {}

    fn done(&self, _: u64) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Between two pieces of work.
pub(super) fn go_on(watch: &dyn Watch) -> anyhow::Result<()> {
    anyhow::ensure!(!watch.is_cancelled(), "it was cancelled");
    Ok(())
}
