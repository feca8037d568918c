job "j" {
  task "a" {
    command = ["true"]
    spread {
      attribute = "node.capabilities"
    }
  }
}
