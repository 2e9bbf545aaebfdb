//! Whole `bcs` command lines: what is sent, what is printed, how they exit.

mod jobs;
mod settings;
mod stage;
