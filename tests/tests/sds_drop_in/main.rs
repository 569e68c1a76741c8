//! Signet's SDS in the place of SPIRE agent's: the same Envoys, the same names, the same agent, once
//! with each. Ours must never be worse, and where they differ stands in `docs/sds-drop-in.md`;
//! `BLESS=1` writes it anew.

mod envoys;
mod scene;
mod table;
mod wire;

use scene::Scene;
use table::Table;

#[tokio::test(flavor = "multi_thread")]
async fn signet_is_never_worse_than_spire_agent() {
    let mut scene = Scene::set().await.unwrap();
    let mut table = Table::default();
    envoys::rows(&mut scene, &mut table).await.unwrap();
    wire::rows(&mut scene, &mut table).await.unwrap();
    println!("{table}");
    table.assert_never_worse();
    table.assert_documented();
}
