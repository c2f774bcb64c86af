//! What the tests share: commands, the plug, a host with its disk, and the program under test.

pub mod attributes;
pub mod command;
pub mod container;
pub mod degrade;
pub mod dialogue;
pub mod document;
pub mod exports;
pub mod hosts;
pub mod machine;
pub mod noise;
pub mod old_truecrypt;
pub mod other;
pub mod process;
pub mod program;
pub mod running;
pub mod world;

pub use command::{sh, try_sh};
pub use container::Container;
pub use dialogue::Dialogue;
pub use hosts::Hosts;
pub use noise::noise;
pub use other::Other;
pub use program::{type_in, zbackup, zbackup_with_fault};
pub use running::Running;
pub use world::World;
