//! What the mill does, told as scripts: inputs in, text out, through one `check`.
//!
//! The language is described in `script`. After every input the harness also asks what must
//! always hold: the books add up, the draft and the step agree, a replay of the events and a
//! restore from the entities give an equal world.

mod ahead;
mod attached;
mod changes;
mod clusters;
mod failures;
mod jobs;
mod machines;
mod market;
mod notices;
mod script;
mod share;
