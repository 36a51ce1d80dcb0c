"""What makes a server lose, corrupt or hang: power cuts, failing calls, kills, damage, wrong clocks, full disks."""
