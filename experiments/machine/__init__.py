"""What programs need of the machine: processes, signals, disks, compilation, memory."""
