"""Transform: records as a trainer reads them: token shards that map into memory, features."""
