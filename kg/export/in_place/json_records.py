def write_records(*a): raise NotImplementedError
