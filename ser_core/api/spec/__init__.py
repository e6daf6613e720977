"""The parts of a SERRun's spec. The docs under the fields are the manual (`kubectl explain`)."""
