/** A QR code, drawn here: the secret in it goes nowhere else. */
import { create } from 'qrcode';

export function QrCode({ text }: { text: string }) {
  const { size, data } = create(text).modules;
  const dark = [...data].flatMap((bit, index) =>
    bit ? [`M${index % size} ${Math.floor(index / size)}h1v1h-1z`] : [],
  );
  return (
    <svg
      width={180}
      viewBox={`-4 -4 ${size + 8} ${size + 8}`}
      role="img"
      aria-label="QR code of the secret below"
      shapeRendering="crispEdges"
    >
      <rect x={-4} y={-4} width={size + 8} height={size + 8} fill="#fff" />
      <path d={dark.join('')} fill="#000" />
    </svg>
  );
}
