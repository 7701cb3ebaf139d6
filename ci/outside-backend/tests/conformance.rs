//! The proof that the backend is one.

gradus_testkit::conformance!(outside_backend::Plain::device(), gradients);
