//! The provider room of Gristmill.
