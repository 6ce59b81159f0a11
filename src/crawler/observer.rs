use super::HostSummary;
use crate::mirror::HostName;

/// Is told what the crawler does, to show it. Called from one task; must not block for long.
pub trait Observer: Send + Sync {
    /// A crawl of so many hosts begins.
    fn started(&self, hosts: usize);
    /// A host's turn has come.
    fn host_started(&self, host: &HostName);
    /// A host is done, and stored unless its summary has an `error`.
    fn host_finished(&self, summary: &HostSummary);
}
