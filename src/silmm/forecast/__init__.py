"""What a run will take, before it is started: files, memory, work, time (`silmm plan`)."""
