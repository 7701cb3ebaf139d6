//! Parameters, modules, layers, losses, initialization and state dicts.
