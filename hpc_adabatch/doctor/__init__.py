"""What the ranks of a launch find where they run: what is right, what is wrong, and the line that mends it.

check       one thing that was looked at
software    versions, and what the engine needs that will sum over ranks
place       launcher, engine, PMI, MPI, ranks a node
gpus        whether each rank has a GPU that this torch can use
binding     cores, GPU and NUMA node of each rank
network     what carries sums between nodes
storage     file systems, locks, room and quotas of the output and of the data
limits      threads, shared memory, open files, locked memory
job         time left, signal before the end, restarts
examine     all of it, from all ranks, as one table
"""
