//! The files of a guest, beside other programs and other users: what becomes of those that `write_files` has made, what a
//! run that is cut off leaves behind, and what a hostile user can reach.

mod instance;
mod interrupted;
mod races;
mod write_files;
