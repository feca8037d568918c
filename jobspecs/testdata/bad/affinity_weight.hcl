job "j" {
  task "a" {
    command = ["true"]
    affinity {
      attribute = "label.zone"
      value     = "a"
      weight    = 500
    }
  }
}
