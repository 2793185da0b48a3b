"""Research datasets by name: UCF101, HMDB51, THUMOS14, ActivityNet, Kinetics and TSN lists."""
