//! What a command answers: values with their verdict, ready to be rendered.

pub mod findings;
