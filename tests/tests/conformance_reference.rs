//! The reference passes its own suite: in lower precisions, through layouts, and where the suite does not
//! compare with it.

gradus_testkit::conformance!(gradus_testkit::Reference::device(), gradients);
