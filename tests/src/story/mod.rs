//! The story, point by point: each function does something to a running [`Mesh`](crate::Mesh) and
//! returns what it saw.
