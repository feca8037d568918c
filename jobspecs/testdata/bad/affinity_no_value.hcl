job "j" {
  task "a" {
    command = ["true"]
    affinity {
      attribute = "label.zone"
      weight    = 50
    }
  }
}
