module pocketkube.test/pause

go 1.24
