use super::*;
use tokio::time::advance;

type Told = oneshot::Receiver<Disconnect>;

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn cut(told: &mut Told) -> bool {
    matches!(told.try_recv(), Ok(Disconnect::Now))
}

#[tokio::test]
async fn has_room_for_so_many_in_all_and_from_one_source() {
    let connections = Connections::new(3, 2);
    let busy = |from: &str| {
        let admitted = connections.admit(address(from));
        admitted.inspect(|(permit, _)| permit.begin_request())
    };
    let (one, two) = (busy("192.0.2.1").unwrap(), busy("192.0.2.1").unwrap());
    assert!(busy("192.0.2.1").is_err());
    let three = busy("192.0.2.2").unwrap();
    assert!(busy("192.0.2.3").is_err());
    drop(one);
    let four = busy("192.0.2.1").unwrap();
    drop((two, three, four));
    // A proxy's connections count for no source.
    let proxied: Vec<_> = (0..3).map(|_| connections.admit(None).unwrap()).collect();
    proxied.iter().for_each(|(permit, _)| permit.begin_request());
    assert!(connections.admit(None).is_err());
    drop(proxied);
    assert!(connections.count() == 0 && connections.state().open.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closes_those_that_idle_longest_for_a_new_one() {
    let connections = Connections::new(4, 3);
    let (asked, mut asked_told) = connections.admit(address("192.0.2.1")).unwrap();
    asked.begin_request();
    asked.await_client();
    advance(ROUND).await;
    connections.cut_overdue();
    let (_old, mut old_told) = connections.admit(address("192.0.2.1")).unwrap();
    advance(ROUND).await;
    connections.cut_overdue();
    let (_young, mut young_told) = connections.admit(address("192.0.2.2")).unwrap();
    let (busy, mut busy_told) = connections.admit(address("192.0.2.2")).unwrap();
    busy.begin_request();
    // Those that never sent a request go first, the oldest of them; then those that have not asked for longest.
    let first = connections.admit(address("192.0.2.3")).unwrap();
    first.0.begin_request();
    assert!(cut(&mut old_told) && !cut(&mut young_told) && !cut(&mut asked_told));
    let second = connections.admit(address("192.0.2.4")).unwrap();
    second.0.begin_request();
    assert!(cut(&mut young_told) && !cut(&mut asked_told));
    let third = connections.admit(address("192.0.2.5")).unwrap();
    third.0.begin_request();
    assert!(cut(&mut asked_told) && !cut(&mut busy_told));
    assert!(connections.admit(address("192.0.2.6")).is_err());
    assert_eq!((connections.evicted(), connections.count()), (3, 4));
}

#[tokio::test]
async fn a_source_at_its_limit_makes_room_from_its_own() {
    let connections = Connections::new(10, 1);
    let (_other, mut other_told) = connections.admit(address("192.0.2.2")).unwrap();
    let (_idle, mut idle_told) = connections.admit(address("192.0.2.1")).unwrap();
    let (busy, _told) = connections.admit(address("192.0.2.1")).unwrap();
    busy.begin_request();
    assert!(cut(&mut idle_told) && !cut(&mut other_told));
    assert!(connections.admit(address("192.0.2.1")).is_err());
}

#[tokio::test(start_paused = true)]
async fn closes_a_connection_that_neither_asks_nor_waits() {
    let connections = Connections::new(10, 10);
    let (_silent, mut silent_told) = connections.admit(None).unwrap();
    let (idle, mut idle_told) = connections.admit(None).unwrap();
    idle.begin_request();
    idle.await_client();
    let (waiting, mut waiting_told) = connections.admit(None).unwrap();
    waiting.begin_request();
    let (asking, mut asking_told) = connections.admit(None).unwrap();
    let (reading, mut reading_told) = connections.admit(None).unwrap();
    reading.begin_request();
    reading.await_transfer(10 * SLOWEST);
    for second in 0..IDLE_SECONDS {
        asking.begin_request();
        asking.await_client();
        assert_eq!(cut(&mut silent_told), second == FIRST_HEAD_SECONDS, "{second}");
        assert_eq!(cut(&mut reading_told), second == ANSWER_SECONDS + 10, "{second}");
        assert!(!cut(&mut idle_told));
        advance(ROUND).await;
        connections.cut_overdue();
    }
    assert!(cut(&mut idle_told) && !cut(&mut waiting_told) && !cut(&mut asking_told));
}

#[tokio::test]
async fn closing_waits_for_the_request_at_hand_and_for_no_client() {
    let connections = Connections::new(10, 10);
    let (waiting, mut waiting_told) = connections.admit(None).unwrap();
    waiting.begin_request();
    let (_reading, mut reading_told) = connections.admit(None).unwrap();
    connections.close();
    let told = |told: &mut Told| match told.try_recv() {
        Ok(Disconnect::Graceful(cut)) => cut,
        other => panic!("{other:?}"),
    };
    let (mut waiting_cut, mut reading_cut) = (told(&mut waiting_told), told(&mut reading_told));
    // One that comes in the moment of closing is told as well.
    let (late, mut late_told) = connections.admit(None).unwrap();
    late.begin_request();
    let mut late_cut = told(&mut late_told);
    connections.cut_idle();
    let is_cut =
        |told: &mut oneshot::Receiver<()>| told.try_recv() == Err(oneshot::error::TryRecvError::Closed);
    assert!(is_cut(&mut reading_cut) && !is_cut(&mut waiting_cut) && !is_cut(&mut late_cut));
}
