use std::{io, time::Duration};

use openflow_archive::Freezer;
use tokio::runtime::Handle;

use crate::{instances::Instances, kernel::InstanceId};

/// How long the instance may stand still.
pub(super) const FREEZE_LIMIT: Duration = Duration::from_secs(10);
/// After which the reconciler lets it go on, whatever has become of us.
const FUSE: Duration = Duration::from_secs(15);

/// Holds an instance still from a thread of its own.
pub(super) struct InstanceFreezer {
    instances: Instances,
    id: InstanceId,
    runtime: Handle,
    frozen: bool,
    /// There was nothing to freeze: it did not run.
    stood: bool,
    /// Whether it was frozen at all.
    pub(super) was_frozen: bool,
    /// Somebody let it go on too early, or started it meanwhile.
    pub(super) broke: bool,
}

impl InstanceFreezer {
    /// To be called on the async runtime.
    pub(super) fn new(instances: Instances, id: InstanceId) -> Self {
        Self {
            instances,
            id,
            runtime: Handle::current(),
            frozen: false,
            stood: false,
            was_frozen: false,
            broke: false,
        }
    }
}

impl Freezer for InstanceFreezer {
    /// One that does not run writes nothing: there is nothing to freeze.
    fn freeze(&mut self) -> io::Result<()> {
        // When it fails, nobody knows.
        self.frozen = true;
        let frozen = self.runtime.block_on(self.instances.freeze(self.id, FUSE));
        self.frozen = frozen.map_err(io::Error::other)?;
        self.was_frozen |= self.frozen;
        self.stood = !self.frozen;
        Ok(())
    }

    /// Leaves one alone that stands still for another reason.
    fn thaw(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.stood) {
            let up = self.runtime.block_on(self.instances.is_up(self.id));
            self.broke |= up.map_err(io::Error::other)?;
        }
        if !self.frozen {
            return Ok(());
        }
        let still = self.runtime.block_on(self.instances.thaw(self.id));
        let still = still.map_err(io::Error::other)?;
        self.broke |= self.was_frozen && !still;
        self.frozen = false;
        Ok(())
    }
}
