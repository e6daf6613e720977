"""What a stage needs of GPU and main memory: from a model's file headers, the spec and the resources, without torch."""
