//! The list of all fail points, in the order in which a job comes by them.

use crate::Deed::{self, Early, Fail, Kill, Panic, Slow, Twice};

/// Makes the enum, its list, and what is said of each.
macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal in $process:literal: $($deed:ident)+;)+) => {
        /// A step at which a test can let a process fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Point {
            /// Every point there is.
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            /// How tests name it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)+ }
            }

            /// Which process comes by.
            pub const fn process(self) -> &'static str {
                match self { $(Self::$point => $process,)+ }
            }

            /// What it can be asked to do.
            pub const fn deeds(self) -> &'static [Deed] {
                match self { $(Self::$point => &[$($deed),+],)+ }
            }
        }
    };
}

points! {
    /// A request for a job was understood and not yet given to the mill.
    JobAsked = "job.asked" in "server": Kill Panic Fail Twice;
    /// The mill took a batch out of its inbox.
    MillTaken = "mill.taken" in "server": Kill Panic;
    /// The batch is decided and applied to the draft.
    MillDecided = "mill.decided" in "server": Kill Panic;
    /// All of the batch is written, nothing committed.
    StoreCommit = "store.commit" in "server": Kill Fail Slow;
    /// The batch is committed, nobody knows.
    StoreCommitted = "store.committed" in "server": Kill Panic;
    /// The new world is published, nobody was answered.
    MillPublished = "mill.published" in "server": Kill Panic;
    /// Everybody was answered, effects wait.
    MillAnswered = "mill.answered" in "server": Kill Panic;
    /// A machine is about to be asked for.
    HandsEnsure = "hands.ensure" in "server": Kill Panic Fail Twice;
    /// A machine is recorded, its process not started.
    ProviderRecorded = "provider.recorded" in "server": Kill Fail;
    /// A machine's process is started, its number not recorded.
    ProviderSpawned = "provider.spawned" in "server": Kill Fail;
    /// The provider answered, the mill was not told.
    HandsEnsured = "hands.ensured" in "server": Kill Panic Twice;
    /// An effect is carried out and still in the outbox.
    OutboxStrike = "outbox.strike" in "server": Kill Panic Twice;
    /// Effects are about to be struck from the outbox.
    OutboxWrite = "outbox.write" in "server": Kill Fail;
    /// An agent is about to call the server.
    AgentHello = "agent.hello" in "agent": Kill Panic Fail;
    /// An agent's first words were heard, the mill was not told.
    SessionHello = "session.hello" in "server": Kill Panic Fail Twice;
    /// An agent is about to be told what to run.
    SessionAssign = "session.assign" in "server": Kill Panic Fail Twice;
    /// An agent takes a run in.
    AgentTake = "agent.take" in "agent": Kill Panic Twice;
    /// The package is about to be fetched.
    AgentPackage = "agent.package" in "agent": Kill Panic Fail;
    /// The package is fetched, nothing unpacked.
    AgentUnpack = "agent.unpack" in "agent": Kill Fail;
    /// The process that serves the inputs is about to be started.
    AgentMount = "agent.mount" in "agent": Kill Panic Fail;
    /// The inputs are mounted, the agent was not told.
    MounterReady = "mounter.ready" in "mounter": Kill Panic;
    /// The program is about to be asked for.
    AgentStart = "agent.start" in "agent": Kill Panic Fail;
    /// A sandbox is about to be made.
    SpawnerMake = "spawner.make" in "spawner": Kill Panic Fail;
    /// The sandbox is made, the agent was not told.
    SpawnerMade = "spawner.made" in "spawner": Kill Panic;
    /// The agent heard that the program started.
    AgentStarted = "agent.started" in "agent": Kill Panic;
    /// A program ended, the agent was not told.
    SpawnerEnded = "spawner.ended" in "spawner": Kill Panic;
    /// The agent heard that the program ended; nothing is uploaded.
    AgentEnded = "agent.ended" in "agent": Kill Panic;
    /// Outputs and logs are about to be uploaded.
    AgentUpload = "agent.upload" in "agent": Kill Panic Fail;
    /// What was changed in the object store is written, not committed.
    ObjectsCommit = "objects.commit" in "server": Kill Fail Slow;
    /// What was changed in the object store is committed, nobody knows.
    ObjectsCommitted = "objects.committed" in "server": Kill;
    /// Everything is uploaded, the inputs are still mounted.
    AgentUploaded = "agent.uploaded" in "agent": Kill Panic;
    /// The mounter is about to say what happened on the mount.
    MounterReport = "mounter.report" in "mounter": Kill Panic;
    /// Reports are about to be sent; they count as said.
    AgentReport = "agent.report" in "agent": Kill Panic Fail Twice;
    /// Reports were heard, nothing was done about them.
    SessionReports = "session.reports" in "server": Kill Panic Fail Twice;
    /// Streams of the reports are about to be stored.
    StreamsKeep = "streams.keep" in "server": Kill Fail Twice;
    /// The streams are stored, the mill was not told of the reports.
    StreamsKept = "streams.kept" in "server": Kill Panic;
    /// Reports are durable, the agent was not told.
    SessionAcknowledge = "session.acknowledge" in "server": Kill Panic Fail Twice;
    /// The agent heard that its reports are durable.
    AgentAcknowledged = "agent.acknowledged" in "agent": Kill Panic;
    /// Notices were read from the books.
    NoticeDeliver = "notice.deliver" in "server": Kill Panic Fail Twice;
    /// Messages are written, not committed.
    MessagesCommit = "messages.commit" in "server": Kill Fail Slow;
    /// Notices were delivered and still stand in the books.
    NoticeDelivered = "notice.delivered" in "server": Kill Panic Twice;
    /// Notices are about to be struck from the books.
    NoticeWrite = "notice.write" in "server": Kill Fail;
    /// A finished job is about to go into the history.
    HistoryMove = "history.move" in "server": Kill Fail;
    /// Whether it is time for a checkpoint.
    CheckpointDue = "checkpoint.due" in "server": Early;
    /// A checkpoint is about to be brought into the form of the disk.
    CheckpointPrepare = "checkpoint.prepare" in "server": Kill Panic Slow;
    /// A checkpoint is written, not committed.
    CheckpointCommit = "checkpoint.commit" in "server": Kill Fail;
    /// A checkpoint is taken, the journal before it is still there.
    CheckpointTrim = "checkpoint.trim" in "server": Kill Fail;
    /// A machine is about to be removed.
    HandsRemove = "hands.remove" in "server": Kill Panic Fail Twice;
    /// A machine's process is ended, its directory still there.
    ProviderEnded = "provider.ended" in "server": Kill Fail;
}
