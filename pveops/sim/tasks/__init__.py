"""Work that takes time: the engine that runs tasks through simulated time, what each task does, and the tasks of the past."""
