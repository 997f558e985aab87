//! What the driver tells about itself: logs with stable field names, metrics, health, and error
//! texts.

pub mod http;
pub mod logging;
pub mod metrics;
pub mod task;
mod text;
pub mod trace;

use std::error::Error;

pub use text::sanitise;

/// The last of an error's causes, fit to be shown.
pub fn innermost(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    sanitise(&text)
}

/// An error and all its causes in one line, outermost first: the only text that reaches a user.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
