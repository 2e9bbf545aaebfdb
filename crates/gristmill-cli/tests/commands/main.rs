//! Whole `bcs` command lines: what is sent, what is printed, how they exit.

mod apps;
mod door;
mod jobs;
mod machines;
mod objects;
mod settings;
mod stage;
