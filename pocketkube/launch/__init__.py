"""Where a stage's call runs: in this process, or shared by several; one interface for all."""
